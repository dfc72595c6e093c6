/* An SMTP sink: takes every message, keeps none, counts in shared memory.
 *
 *   sink --port 2600 --counters FILE [--certificate PEM --key PEM] [--addresses N]
 *
 * Listens on 127.0.0.1, and with --addresses also on 127.0.1.1 to 127.0.1.N, all on one port.
 * With a certificate it offers STARTTLS (TLS 1.3). One thread a connection. Answers to a pipelined
 * group go out together. Says "ready" on standard output when it listens.
 */
#include "common.h"
#include <sys/epoll.h>

#define MOST_ADDRESSES 250

static SSL_CTX *tls_context;
static struct counters *counters;

struct session {
    struct link *link;
    int waiting;         /* bytes of answers not yet sent */
    char answers[8192];
};

static bool flush(struct session *s)
{
    int n = s->waiting;
    s->waiting = 0;
    return n == 0 || link_write(s->link, s->answers, n);
}

static bool answer(struct session *s, const char *text)
{
    int n = strlen(text);
    if (s->waiting + n > (int)sizeof s->answers && !flush(s))
        return false;
    memcpy(s->answers + s->waiting, text, n);
    s->waiting += n;
    return true;
}

static bool hello(struct session *s)
{
    bool offer = tls_context && !s->link->tls;
    return answer(s, "250-sink.example\r\n250-PIPELINING\r\n250-SIZE 100000000\r\n")
        && (!offer || answer(s, "250-STARTTLS\r\n")) && answer(s, "250 8BITMIME\r\n");
}

static bool start_tls(struct session *s)
{
    if (!answer(s, "220 go ahead\r\n") || !flush(s))
        return false;
    SSL *tls = SSL_new(tls_context);
    SSL_set_fd(tls, s->link->fd);
    if (SSL_accept(tls) <= 0) {
        SSL_free(tls);
        return false;
    }
    s->link->tls = tls;
    s->link->used = s->link->filled = 0;
    __sync_fetch_and_add(&counters->tls_connections, 1);
    return true;
}

/* Where the scan for the end of data stands between two reads. */
enum place { IN_LINE, LINE_START, AFTER_DOT, AFTER_DOT_CR, AT_END };

static enum place next_place(enum place place, char c)
{
    switch (place) {
    case LINE_START:
        return c == '.' ? AFTER_DOT : c == '\n' ? LINE_START : IN_LINE;
    case AFTER_DOT:
        return c == '\r' ? AFTER_DOT_CR : c == '\n' ? AT_END : IN_LINE;
    case AFTER_DOT_CR:
        return c == '\n' ? AT_END : IN_LINE;
    default:
        return IN_LINE;
    }
}

static bool swallow_message(struct session *s)
{
    struct link *l = s->link;
    enum place place = LINE_START;
    long size = 0;
    while (place != AT_END) {
        if (l->used == l->filled && !link_fill(l))
            return false;
        char *start = l->buffer + l->used, *p = start, *end = l->buffer + l->filled;
        while (p < end && place != AT_END) {
            if (place == IN_LINE) {
                char *newline = memchr(p, '\n', end - p);
                p = newline ? newline + 1 : end;
                place = newline ? LINE_START : IN_LINE;
            } else {
                place = next_place(place, *p++);
            }
        }
        size += p - start;
        l->used = p - l->buffer;
    }
    __sync_fetch_and_add(&counters->bytes, size);
    __sync_fetch_and_add(&counters->messages, 1);
    return true;
}

static bool command(struct session *s, const char *line)
{
    if (!strncasecmp(line, "EHLO", 4))
        return hello(s);
    if (!strncasecmp(line, "STARTTLS", 8) && tls_context)
        return start_tls(s);
    if (!strncasecmp(line, "DATA", 4))
        return answer(s, "354 go ahead\r\n") && flush(s) && swallow_message(s) && answer(s, "250 taken\r\n");
    if (!strncasecmp(line, "QUIT", 4)) {
        if (answer(s, "221 bye\r\n") && flush(s) && s->link->tls)
            SSL_shutdown(s->link->tls);
        return false;
    }
    return answer(s, "250 fine\r\n");
}

static void *serve(void *argument)
{
    struct session *s = calloc(1, sizeof *s);
    s->link = calloc(1, sizeof *s->link);
    s->link->fd = (int)(long)argument;
    without_delay(s->link->fd);
    __sync_fetch_and_add(&counters->connections, 1);
    char line[4096];
    bool going = answer(s, "220 sink.example ESMTP\r\n");
    while (going) {
        if (s->link->used == s->link->filled && !flush(s))
            break;
        going = link_line(s->link, line, sizeof line) >= 0 && command(s, line);
    }
    link_close(s->link);
    free(s);
    return NULL;
}

static int listen_on(in_addr_t address, int port)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(address)};
    if (bind(fd, (struct sockaddr *)&at, sizeof at) != 0 || listen(fd, 4096) != 0)
        die("listen");
    return fd;
}

static void accept_all(int poller)
{
    pthread_attr_t detached;
    pthread_attr_init(&detached);
    pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&detached, 256 << 10);
    struct epoll_event ready[MOST_ADDRESSES + 1];
    for (;;) {
        int n = epoll_wait(poller, ready, MOST_ADDRESSES + 1, -1);
        for (int i = 0; i < n; i++) {
            int fd;
            while ((fd = accept4(ready[i].data.fd, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
                pthread_t thread;
                if (pthread_create(&thread, &detached, serve, (void *)(long)fd) != 0)
                    close(fd);
            }
        }
    }
}

static void use_certificate(const char *certificate, const char *key)
{
    tls_context = SSL_CTX_new(TLS_server_method());
    SSL_CTX_set_min_proto_version(tls_context, TLS1_3_VERSION);
    if (SSL_CTX_use_certificate_chain_file(tls_context, certificate) != 1
        || SSL_CTX_use_PrivateKey_file(tls_context, key, SSL_FILETYPE_PEM) != 1) {
        ERR_print_errors_fp(stderr);
        exit(1);
    }
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"port", required_argument, 0, 'p'}, {"counters", required_argument, 0, 'c'},
        {"certificate", required_argument, 0, 'C'}, {"key", required_argument, 0, 'K'},
        {"addresses", required_argument, 0, 'a'}, {0, 0, 0, 0}};
    int port = 2600, addresses = 0, option;
    const char *file = NULL, *certificate = NULL, *key = NULL;
    while ((option = getopt_long(argc, argv, "", options, NULL)) > 0)
        switch (option) {
        case 'p': port = atoi(optarg); break;
        case 'c': file = optarg; break;
        case 'C': certificate = optarg; break;
        case 'K': key = optarg; break;
        case 'a': addresses = atoi(optarg); break;
        default: return 2;
        }
    if (!file || addresses > MOST_ADDRESSES || !certificate != !key)
        return fprintf(stderr, "sink: see the head of sink.c for its options\n"), 2;
    set_up_process();
    counters = map_counters(file);
    if (certificate)
        use_certificate(certificate, key);
    int poller = epoll_create1(EPOLL_CLOEXEC);
    for (int i = 0; i <= addresses; i++) {
        in_addr_t address = i == 0 ? INADDR_LOOPBACK : (127u << 24 | 1u << 8 | (unsigned)i);
        struct epoll_event event = {.events = EPOLLIN, .data.fd = listen_on(address, port)};
        epoll_ctl(poller, EPOLL_CTL_ADD, event.data.fd, &event);
    }
    puts("ready");
    fflush(stdout);
    accept_all(poller);
}
