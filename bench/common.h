/* What the load generator and the sink share: time, counters in shared memory, and a line-wise
 * connection that is clear text until an SSL object is put on it. Header only; each program is one file.
 */
#ifndef GATEPOST_BENCH_COMMON_H
#define GATEPOST_BENCH_COMMON_H

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* What the sink has seen. The generator waits on `messages` to know that all of its mail got out. */
struct counters {
    volatile long messages, bytes, connections, tls_connections;
};

struct link {
    int fd;
    SSL *tls; /* NULL while in clear text */
    int used, filled;
    char buffer[65536];
};

static inline double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec * 1e-9;
}

static inline void die(const char *what)
{
    perror(what);
    exit(1);
}

static inline struct counters *map_counters(const char *path)
{
    int fd = open(path, O_CREAT | O_RDWR, 0600);
    if (fd < 0 || ftruncate(fd, sizeof(struct counters)) != 0)
        die(path);
    void *memory = mmap(NULL, sizeof(struct counters), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (memory == MAP_FAILED)
        die(path);
    close(fd);
    return memory;
}

static inline int link_read(struct link *l, void *into, int size)
{
    return l->tls ? SSL_read(l->tls, into, size) : (int)read(l->fd, into, size);
}

/* Writes everything; false when the connection is gone. */
static inline bool link_write(struct link *l, const char *from, int size)
{
    while (size > 0) {
        int n = l->tls ? SSL_write(l->tls, from, size) : (int)write(l->fd, from, size);
        if (n <= 0)
            return false;
        from += n;
        size -= n;
    }
    return true;
}

static inline bool link_fill(struct link *l)
{
    int n = link_read(l, l->buffer, sizeof l->buffer);
    if (n <= 0)
        return false;
    l->filled = n;
    l->used = 0;
    return true;
}

/* One line without its end; what does not fit into `size` is dropped. Its length, or -1 at the end. */
static inline int link_line(struct link *l, char *line, int size)
{
    int length = 0;
    for (;;) {
        if (l->used == l->filled && !link_fill(l))
            return -1;
        char c = l->buffer[l->used++];
        if (c == '\n')
            break;
        if (length < size - 1)
            line[length++] = c;
    }
    if (length && line[length - 1] == '\r')
        length--;
    line[length] = 0;
    return length;
}

static inline void link_close(struct link *l)
{
    if (l->tls)
        SSL_free(l->tls);
    ERR_clear_error();
    close(l->fd);
    free(l);
}

static inline void without_delay(int fd)
{
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

/* The tools end with the program that started them, and a broken connection is an error, not a signal. */
static inline void set_up_process(void)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    signal(SIGPIPE, SIG_IGN);
}

#endif
