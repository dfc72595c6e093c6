/* Records, in order, what a process does to the files below POWERCUT_ROOT: made names, written data, flushes.

   Preloaded into the process under test. POWERCUT_LOG is the file the record goes to; what the process writes to
   the file POWERCUT_MARKS goes into the record as a mark, at its place in the order. An operation is recorded after it
   succeeded and before its caller knows; a flush is recorded twice, when it begins and when it has succeeded, since it
   covers only what was written before it began. Stores to mapped memory are not seen.

   One record: op (1 octet), 3 unused, payload length (4), inode or flush number (8), offset or size (8), payload. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define MAX_FD 65536
#define REAL(name) ((__typeof__(&name))real(#name))

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static const char *root, *marks;
static size_t root_length;
static int log_fd = -1;
static uint64_t inode_of[MAX_FD]; /* 0: not ours */
static char is_marks[MAX_FD];
static uint64_t flushes;

static void *real(const char *name) { return dlsym(RTLD_NEXT, name); }

__attribute__((constructor)) static void begin(void) {
  root = getenv("POWERCUT_ROOT");
  marks = getenv("POWERCUT_MARKS");
  const char *path = getenv("POWERCUT_LOG");
  if (!root || !path) return;
  root_length = strlen(root);
  log_fd = REAL(open)(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

static int ours(const char *path) {
  return log_fd >= 0 && !strncmp(path, root, root_length) && (path[root_length] == '/' || !path[root_length]);
}

static uint64_t tracked(int fd) { return fd >= 0 && fd < MAX_FD && log_fd >= 0 ? inode_of[fd] : 0; }

static void record(char op, uint64_t inode, uint64_t offset, const struct iovec *data, int parts) {
  struct { char op, unused[3]; uint32_t length; uint64_t inode, offset; } head = {op, {0}, 0, inode, offset};
  struct iovec all[64] = {{&head, sizeof head}};
  for (int i = 0; i < parts && i < 63; i++) {
    all[i + 1] = data[i];
    head.length += data[i].iov_len;
  }
  pthread_mutex_lock(&mutex);
  ssize_t done = REAL(writev)(log_fd, all, parts + 1);
  pthread_mutex_unlock(&mutex);
  if (parts > 63 || done != (ssize_t)(sizeof head + head.length)) {
    fprintf(stderr, "power cut recorder: the record is not whole\n");
    abort();
  }
}

static void record_text(char op, uint64_t inode, const char *text) {
  struct iovec part = {(void *)text, strlen(text)};
  record(op, inode, 0, &part, 1);
}

/* The first `length` octets of some parts, as they were written at `offset`. */
static void record_write(int fd, off_t offset, const struct iovec *data, int parts, ssize_t length) {
  struct iovec cut[63];
  int used = 0;
  for (; used < parts && used < 63 && length > 0; used++) {
    cut[used] = data[used];
    if ((ssize_t)cut[used].iov_len > length) cut[used].iov_len = length;
    length -= cut[used].iov_len;
  }
  record('W', inode_of[fd], offset, cut, used);
}

/* Names. */

static int opened(int fd, const char *path, int flags, int existed) {
  int kept = errno;
  if (fd >= 0 && fd < MAX_FD && log_fd >= 0) {
    inode_of[fd] = 0;
    is_marks[fd] = marks && !strcmp(path, marks);
    struct stat facts;
    if (ours(path) && !fstat(fd, &facts)) {
      inode_of[fd] = facts.st_ino;
      record_text(existed ? 'O' : 'C', facts.st_ino, path);
      if (existed && (flags & O_TRUNC)) record('S', facts.st_ino, 0, NULL, 0);
    }
  }
  errno = kept;
  return fd;
}

static int exists(const char *path) {
  struct stat facts;
  int kept = errno, found = !lstat(path, &facts);
  errno = kept;
  return found;
}

#define OPEN(name)                                              \
  int name(const char *path, int flags, ...) {                  \
    va_list more;                                               \
    va_start(more, flags);                                      \
    mode_t mode = va_arg(more, int);                            \
    va_end(more);                                               \
    int existed = exists(path);                                 \
    return opened(REAL(name)(path, flags, mode), path, flags, existed); \
  }
OPEN(open)
OPEN(open64)

#define OPENAT(name)                                            \
  int name(int at, const char *path, int flags, ...) {          \
    va_list more;                                               \
    va_start(more, flags);                                      \
    mode_t mode = va_arg(more, int);                            \
    va_end(more);                                               \
    int existed = exists(path);                                 \
    return opened(REAL(name)(at, path, flags, mode), path, flags, existed); \
  }
OPENAT(openat)
OPENAT(openat64)

int close(int fd) {
  if (fd >= 0 && fd < MAX_FD) inode_of[fd] = is_marks[fd] = 0;
  return REAL(close)(fd);
}

int unlink(const char *path) {
  int result = REAL(unlink)(path);
  if (!result && ours(path)) record_text('U', 0, path);
  return result;
}

int unlinkat(int at, const char *path, int flags) {
  int result = REAL(unlinkat)(at, path, flags);
  if (!result && ours(path)) record_text('U', 0, path);
  return result;
}

int mkdir(const char *path, mode_t mode) {
  int result = REAL(mkdir)(path, mode);
  if (!result && ours(path)) record_text('D', 0, path);
  return result;
}

int rename(const char *from, const char *to) {
  int result = REAL(rename)(from, to);
  if (!result && (ours(from) || ours(to))) {
    struct iovec parts[] = {{(void *)from, strlen(from)}, {"\0", 1}, {(void *)to, strlen(to)}};
    record('N', 0, 0, parts, 3);
  }
  return result;
}

/* Data. */

ssize_t write(int fd, const void *data, size_t length) {
  ssize_t done = REAL(write)(fd, data, length);
  if (done > 0 && fd >= 0 && fd < MAX_FD && log_fd >= 0) {
    struct iovec part = {(void *)data, done};
    if (is_marks[fd]) record('M', 0, 0, &part, 1);
    if (inode_of[fd]) record_write(fd, lseek(fd, 0, SEEK_CUR) - done, &part, 1, done);
  }
  return done;
}

ssize_t writev(int fd, const struct iovec *data, int parts) {
  ssize_t done = REAL(writev)(fd, data, parts);
  if (done > 0 && tracked(fd)) record_write(fd, lseek(fd, 0, SEEK_CUR) - done, data, parts, done);
  return done;
}

#define PWRITE(name, offset_type)                                             \
  ssize_t name(int fd, const void *data, size_t length, offset_type offset) { \
    ssize_t done = REAL(name)(fd, data, length, offset);                      \
    struct iovec part = {(void *)data, done > 0 ? done : 0};                  \
    if (done > 0 && tracked(fd)) record_write(fd, offset, &part, 1, done);    \
    return done;                                                              \
  }
PWRITE(pwrite, off_t)
PWRITE(pwrite64, off64_t)

#define PWRITEV(name, offset_type)                                                   \
  ssize_t name(int fd, const struct iovec *data, int parts, offset_type offset) {    \
    ssize_t done = REAL(name)(fd, data, parts, offset);                              \
    if (done > 0 && tracked(fd)) record_write(fd, offset, data, parts, done);        \
    return done;                                                                     \
  }
PWRITEV(pwritev, off_t)
PWRITEV(pwritev64, off64_t)

#define FTRUNCATE(name, offset_type)                                                 \
  int name(int fd, offset_type size) {                                               \
    int result = REAL(name)(fd, size);                                               \
    if (!result && tracked(fd)) record('S', inode_of[fd], size, NULL, 0);            \
    return result;                                                                   \
  }
FTRUNCATE(ftruncate, off_t)
FTRUNCATE(ftruncate64, off64_t)

/* The ways to make a file longer that neither the spool nor SQLite uses as we set it up: refuse to miss them. */

static int missed(int fd, const char *what) {
  if (!tracked(fd)) return 0;
  fprintf(stderr, "power cut recorder: %s is not recorded\n", what);
  abort();
}

int fallocate(int fd, int mode, off_t offset, off_t length) {
  missed(fd, "fallocate");
  return REAL(fallocate)(fd, mode, offset, length);
}

int posix_fallocate(int fd, off_t offset, off_t length) {
  missed(fd, "posix_fallocate");
  return REAL(posix_fallocate)(fd, offset, length);
}

/* Flushes. */

#define FLUSH(name)                                                        \
  int name(int fd) {                                                       \
    uint64_t inode = tracked(fd), number = 0;                              \
    if (inode) {                                                           \
      number = __atomic_add_fetch(&flushes, 1, __ATOMIC_SEQ_CST);          \
      record('B', inode, number, NULL, 0);                                 \
    }                                                                      \
    int result = REAL(name)(fd);                                           \
    if (!result && inode) record('E', inode, number, NULL, 0);             \
    return result;                                                         \
  }
FLUSH(fsync)
FLUSH(fdatasync)
