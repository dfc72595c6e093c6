/* An SMTP load generator: blocking sockets, one thread a session, as fast as the server answers or paced.
 *
 *   gen --port P [--sessions 20] [--messages N] [--per-connection M] [--size BYTES] [--tls]
 *       [--domains D] [--counters FILE] [--patience SECONDS]      send N messages
 *   gen … --rate R        the same, R messages a second over all sessions: for latency
 *   gen … --handshakes    N times connect, EHLO, STARTTLS, EHLO, QUIT
 *   gen … --idle          open the sessions, send one message on each, say "idle N", hold them until
 *                         standard input ends
 *
 * MAIL, RCPT and DATA are pipelined where PIPELINING is offered. TLS 1.3, nothing is verified and no
 * session resumed. With --counters it waits until the sink behind the server has every message. The result
 * is one JSON object: rates accepted and end to end, and the time from the final dot to its 250.
 * A message that failed is sent again and counted in "errors"; 5,000 errors end the run.
 */
#include "common.h"

enum { MOST_ERRORS = 5000, LINE = 600 };

static struct {
    int port, sessions, per_connection, size, domains;
    long messages;
    double rate, patience;
    bool tls, handshakes, idle;
    const char *counters;
} want = {.port = 2525, .sessions = 20, .per_connection = 1, .size = 4096, .messages = 1000, .patience = 120};

static SSL_CTX *tls_context;
static char *body;
static int body_size;

static volatile long claimed, done, errors; /* messages taken by a session, acknowledged, failed tries */
static float *waits;                        /* seconds from final dot to 250, one a message */
static volatile long late;                  /* paced messages that no session was free for in time */
static double started;
static char last_error[LINE];

struct conversation {
    struct link *link;
    bool pipelining;
    char line[LINE]; /* the last answer, or what went wrong */
};

static void make_body(void)
{
    static const char header[] = "From: <sender@client.example>\r\nTo: <user@dest.example>\r\n"
        "Subject: benchmark\r\nDate: Tue, 24 Nov 2026 05:00:00 +0000\r\n"
        "Message-ID: <bench@client.example>\r\n\r\n";
    enum { TEXT = 72 };
    body = malloc(want.size + sizeof header + TEXT + 8);
    body_size = sizeof header - 1;
    memcpy(body, header, body_size);
    while (body_size < want.size - 3) {
        int text = want.size - 3 - body_size - 2;
        text = text > TEXT ? TEXT : text < 1 ? 1 : text;
        for (int i = 0; i < text; i++)
            body[body_size++] = 'a' + (i * 7) % 26;
        body[body_size++] = '\r';
        body[body_size++] = '\n';
    }
    memcpy(body + body_size, ".\r\n", 3);
    body_size += 3;
}

/* The code of the next answer, its last line in `line`; -1 when the connection is gone. */
static int read_reply(struct conversation *c)
{
    int length;
    do {
        length = link_line(c->link, c->line, sizeof c->line);
        if (length < 0) {
            strcpy(c->line, "connection closed by server");
            return -1;
        }
        if (strstr(c->line, "PIPELINING"))
            c->pipelining = true;
    } while (length > 3 && c->line[3] == '-');
    return atoi(c->line);
}

static bool say(struct conversation *c, const char *text, int wanted)
{
    return link_write(c->link, text, strlen(text)) && read_reply(c) == wanted;
}

static void hang_up(struct conversation *c, bool politely)
{
    if (!c->link)
        return;
    if (politely && say(c, "QUIT\r\n", 221) && c->link->tls)
        SSL_shutdown(c->link->tls);
    link_close(c->link);
    c->link = NULL;
}

static bool start_tls(struct conversation *c)
{
    if (!say(c, "STARTTLS\r\n", 220))
        return false;
    SSL *tls = SSL_new(tls_context);
    SSL_set_fd(tls, c->link->fd);
    if (SSL_connect(tls) <= 0) {
        SSL_free(tls);
        strcpy(c->line, "TLS handshake failed");
        return false;
    }
    c->link->tls = tls;
    c->link->used = c->link->filled = 0;
    return say(c, "EHLO client.example\r\n", 250);
}

static bool dial(struct conversation *c)
{
    c->link = calloc(1, sizeof *c->link);
    c->pipelining = false;
    c->link->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    without_delay(c->link->fd);
    struct sockaddr_in to = {
        .sin_family = AF_INET, .sin_port = htons(want.port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (connect(c->link->fd, (struct sockaddr *)&to, sizeof to) != 0)
        snprintf(c->line, sizeof c->line, "connect: %s", strerror(errno));
    else if (read_reply(c) == 220 && say(c, "EHLO client.example\r\n", 250) && (!want.tls || start_tls(c)))
        return true;
    hang_up(c, false);
    return false;
}

/* The envelope of message number `number`, up to the 354. */
static bool send_envelope(struct conversation *c, long number)
{
    static const char sender[] = "MAIL FROM:<sender@client.example>\r\n";
    char recipient[100], all[300];
    if (want.domains)
        snprintf(recipient, sizeof recipient, "RCPT TO:<user@d%ld.bench.example>\r\n", number % want.domains + 1);
    else
        strcpy(recipient, "RCPT TO:<user@dest.example>\r\n");
    if (!c->pipelining)
        return say(c, sender, 250) && say(c, recipient, 250) && say(c, "DATA\r\n", 354);
    snprintf(all, sizeof all, "%s%sDATA\r\n", sender, recipient);
    return say(c, all, 250) && read_reply(c) == 250 && read_reply(c) == 354;
}

static bool send_message(struct conversation *c, long number)
{
    if (!send_envelope(c, number) || !link_write(c->link, body, body_size))
        return false;
    double dot = seconds();
    if (read_reply(c) != 250)
        return false;
    long index = __sync_fetch_and_add(&done, 1);
    if (index < want.messages)
        waits[index] = seconds() - dot;
    return true;
}

static void note_error(const char *text)
{
    long count = __sync_add_and_fetch(&errors, 1);
    snprintf(last_error, sizeof last_error, "%s", text);
    if (count > MOST_ERRORS) {
        fprintf(stderr, "gen: too many errors, the last: %s\n", text);
        exit(3);
    }
    usleep(2000);
}

/* Paced: message `number` has its own moment. Waits for it, or notes that it has passed. */
static void wait_for_turn(long number)
{
    double moment = started + number / want.rate, left = moment - seconds();
    if (left <= 0) {
        __sync_fetch_and_add(&late, 1);
        return;
    }
    struct timespec pause = {.tv_sec = (long)left, .tv_nsec = (long)((left - (long)left) * 1e9)};
    nanosleep(&pause, NULL);
}

/* Sends messages `next` to `end` - 1 on as few connections as the server allows. */
static void send_run(long next, long end)
{
    struct conversation c = {0};
    while (next < end) {
        if (!c.link && !dial(&c)) {
            note_error(c.line);
            continue;
        }
        if (send_message(&c, next)) {
            next++;
        } else {
            note_error(c.line);
            hang_up(&c, false);
        }
    }
    hang_up(&c, true);
}

static void shake_hands(void)
{
    struct conversation c = {0};
    while (!dial(&c))
        note_error(c.line);
    hang_up(&c, true);
    __sync_fetch_and_add(&done, 1);
}

static void *run_session(void *unused)
{
    (void)unused;
    long step = want.handshakes ? 1 : want.per_connection;
    for (;;) {
        long from = __sync_fetch_and_add(&claimed, step), to = from + step;
        if (from >= want.messages)
            return NULL;
        if (want.handshakes)
            shake_hands();
        else
            send_run(from, to < want.messages ? to : want.messages);
    }
}

/* Paced sessions keep their connections and take one message each in turn, so that none waits for another. */
static void *run_paced_session(void *unused)
{
    (void)unused;
    struct conversation c = {0};
    int on_this = 0;
    for (;;) {
        if (!c.link && !dial(&c)) {
            note_error(c.line);
            continue;
        }
        long number = __sync_fetch_and_add(&claimed, 1);
        if (number >= want.messages)
            break;
        wait_for_turn(number);
        while (!send_message(&c, number)) {
            note_error(c.line);
            hang_up(&c, false);
            while (!dial(&c))
                note_error(c.line);
        }
        if (++on_this == want.per_connection) {
            hang_up(&c, true);
            on_this = 0;
        }
    }
    hang_up(&c, true);
    return NULL;
}

static int hold_idle(void)
{
    struct conversation *all = calloc(want.sessions, sizeof *all);
    int held = 0;
    for (int i = 0; i < want.sessions; i++) {
        if (dial(&all[i]) && send_message(&all[i], i))
            held++;
        else
            note_error(all[i].line);
        if (errors > 20)
            break;
    }
    printf("idle %d %s\n", held, last_error);
    fflush(stdout);
    while (getchar() != EOF)
        ;
    for (int i = 0; i < want.sessions; i++)
        hang_up(&all[i], false);
    return 0;
}

static int by_size(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return x < y ? -1 : x > y;
}

static double wait_at(double share, long count)
{
    return count ? waits[(long)(share * (count - 1))] * 1000 : 0;
}

static void report(struct counters *sink, struct counters before, double accepted, double through)
{
    long count = done < want.messages ? done : want.messages;
    if (want.handshakes)
        count = 0;
    qsort(waits, count, sizeof *waits, by_size);
    long arrived = sink ? sink->messages - before.messages : 0;
    printf("{\"messages\": %ld, \"accepted\": %ld, \"arrived\": %ld, \"errors\": %ld, \"late\": %ld, "
           "\"accept_seconds\": %.4f, \"seconds\": %.4f, \"accept_rate\": %.1f, \"rate\": %.1f, "
           "\"outgoing_connections\": %ld, \"p50_ms\": %.3f, \"p99_ms\": %.3f, \"max_ms\": %.3f, "
           "\"last_error\": \"",
        want.messages, done, arrived, errors, late, accepted, through, done / accepted,
        (sink && !want.handshakes ? arrived : done) / through, sink ? sink->connections - before.connections : 0,
        wait_at(0.5, count), wait_at(0.99, count), wait_at(1, count));
    for (const char *p = last_error; *p; p++)
        putchar(*p == '"' || *p == '\\' || *p < ' ' ? ' ' : *p);
    printf("\"}\n");
}

static void parse_options(int argc, char **argv)
{
    static const struct option options[] = {
        {"port", required_argument, 0, 'p'}, {"sessions", required_argument, 0, 's'},
        {"messages", required_argument, 0, 'n'}, {"per-connection", required_argument, 0, 'm'},
        {"size", required_argument, 0, 'z'}, {"tls", no_argument, 0, 't'},
        {"domains", required_argument, 0, 'd'}, {"counters", required_argument, 0, 'c'},
        {"patience", required_argument, 0, 'T'}, {"rate", required_argument, 0, 'r'},
        {"handshakes", no_argument, 0, 'H'}, {"idle", no_argument, 0, 'I'}, {0, 0, 0, 0}};
    int option;
    while ((option = getopt_long(argc, argv, "", options, NULL)) > 0)
        switch (option) {
        case 'p': want.port = atoi(optarg); break;
        case 's': want.sessions = atoi(optarg); break;
        case 'n': want.messages = atol(optarg); break;
        case 'm': want.per_connection = atoi(optarg); break;
        case 'z': want.size = atoi(optarg); break;
        case 't': want.tls = true; break;
        case 'd': want.domains = atoi(optarg); break;
        case 'c': want.counters = optarg; break;
        case 'T': want.patience = atof(optarg); break;
        case 'r': want.rate = atof(optarg); break;
        case 'H': want.handshakes = true; break;
        case 'I': want.idle = true; break;
        default: exit(2);
        }
}

int main(int argc, char **argv)
{
    set_up_process();
    parse_options(argc, argv);
    tls_context = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_min_proto_version(tls_context, TLS1_3_VERSION);
    SSL_CTX_set_session_cache_mode(tls_context, SSL_SESS_CACHE_OFF);
    make_body();
    waits = calloc(want.messages > want.sessions ? want.messages : want.sessions, sizeof *waits);
    if (want.idle)
        return hold_idle();

    struct counters *sink = want.counters ? map_counters(want.counters) : NULL;
    struct counters before = sink ? *sink : (struct counters){0};
    pthread_attr_t small;
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, 512 << 10);
    pthread_t *threads = calloc(want.sessions, sizeof *threads);
    started = seconds();
    for (int i = 0; i < want.sessions; i++)
        if (pthread_create(&threads[i], &small, want.rate > 0 ? run_paced_session : run_session, NULL) != 0)
            die("pthread_create");
    for (int i = 0; i < want.sessions; i++)
        pthread_join(threads[i], NULL);
    double accepted = seconds() - started, through = accepted;
    if (sink && !want.handshakes) {
        double limit = seconds() + want.patience;
        while (sink->messages < before.messages + want.messages && seconds() < limit)
            usleep(1000);
        through = seconds() - started;
    }
    report(sink, before, accepted, through);
    return 0;
}
