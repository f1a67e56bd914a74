/*
 * load - asks a milter, or a mail server, about recipients on many connections at once, and
 * measures.
 *
 *   load [-s] [-t] [-c connections] [-m recipients per session] [-n recipients in all] [-p pid]...
 *        ADDRESS FILE
 *   load -i -c connections ADDRESS
 *
 * ADDRESS is unix:/path or inet:host:port. FILE has a line for each recipient: the class of the
 * reply that is right (2, 4 or 5), a space, the address; they are asked in turn, from the first one
 * again after the last. -s speaks SMTP, else it is the milter protocol, version 6, as Postfix
 * speaks it: one command at a time, macros before it, only the stages that the milter asked for.
 * -p: the processor time of these processes is told, too. -t: a 4xx is never wrong: some are shed.
 * -i: the sessions are opened and then
 * nothing is said until standard input ends.
 *
 * The result is one line of JSON. A wrong answer, and a connection that ends too early, is told on
 * standard error; the exit code is then 1. One thread: the driver shall cost less than what it
 * drives.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { BUFFER = 8192, EVENTS = 256, PIDS_MAX = 512, SILENCE_MS = 60000, SHOWN = 5 };

enum { NO_CONNECT = 0x1, NO_HELO = 0x2, NO_MAIL = 0x4 }; /* SMFIP_*: libmilter/mfdef.h */
enum { SET_SYMLIST = 0x100, STAGE_RCPT = 3 };

struct question {
    char expected; /* '2', '4' or '5' */
    const char *address;
};

enum stage { OPENING, CONNECTED, GREETED, SENDER, ASKING, CLOSING };

struct session {
    int fd;
    enum stage stage;
    unsigned asked; /* recipients, in this session */
    const struct question *question;
    uint64_t sent_ns;
    uint32_t unwanted; /* SMFIP_* the milter chose */
    bool all_macros;   /* the milter did not name those it wants */
    size_t used;
    unsigned char bytes[BUFFER];
};

static struct {
    bool smtp, idle, tolerant;
    unsigned connections, per_session;
    uint64_t total;
    struct sockaddr_storage address;
    socklen_t address_length;
    struct question *questions;
    size_t question_count;
    pid_t pids[PIDS_MAX];
    unsigned pid_count;
} plan = {.connections = 16, .per_session = 100, .total = 100000};

static int events_fd;
static uint64_t handed_out, answered, sessions, wrong;
static unsigned open_sessions, ready_sessions;
static uint32_t *latency_ns;

static _Noreturn void die(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "load: ");
    vfprintf(stderr, format, arguments);
    fprintf(stderr, "\n");
    exit(1);
}

static uint64_t now_ns(clockid_t clock)
{
    struct timespec now;
    if (clock_gettime(clock, &now) != 0)
        die("clock_gettime: %s", strerror(errno));
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* Of all the processes, in nanoseconds. */
static uint64_t processor_time(void)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < plan.pid_count; i++) {
        clockid_t clock;
        if (clock_getcpuclockid(plan.pids[i], &clock) != 0)
            die("there is no process %d", (int)plan.pids[i]);
        sum += now_ns(clock);
    }
    return sum;
}

/* ---- what is sent ---- */

struct packet {
    size_t length;
    unsigned char bytes[BUFFER];
};

static void put(struct packet *packet, const void *bytes, size_t length)
{
    if (packet->length + length > sizeof packet->bytes)
        die("an address is too long");
    memcpy(packet->bytes + packet->length, bytes, length);
    packet->length += length;
}

static void put_text(struct packet *packet, const char *text)
{
    put(packet, text, strlen(text) + 1);
}

static void put_number(struct packet *packet, uint32_t number)
{
    number = htonl(number);
    put(packet, &number, sizeof number);
}

/* The length goes before it once it is known. */
static size_t begin(struct packet *packet, const char *command)
{
    size_t start = packet->length;
    put_number(packet, 0);
    put(packet, command, strlen(command));
    return start;
}

static void end(struct packet *packet, size_t start)
{
    uint32_t length = htonl((uint32_t)(packet->length - start - 4));
    memcpy(packet->bytes + start, &length, sizeof length);
}

static void put_command(struct packet *packet, const char *command)
{
    end(packet, begin(packet, command));
}

/* A session has one command on its way, which fits the socket's buffer. */
static void give(struct session *session, const void *bytes, size_t length)
{
    if (send(session->fd, bytes, length, MSG_NOSIGNAL) != (ssize_t)length)
        die("send: %s", strerror(errno));
}

static void give_text(struct session *session, const char *text)
{
    give(session, text, strlen(text));
}

static void send_negotiation(struct session *session)
{
    struct packet packet = {0};
    size_t start = begin(&packet, "O");
    put_number(&packet, 6);
    put_number(&packet, 0x1FF);
    put_number(&packet, 0x1FFFFF);
    end(&packet, start);
    give(session, packet.bytes, packet.length);
}

static void send_connect(struct session *session)
{
    struct packet packet = {0};
    uint16_t port = htons(12345);
    put_command(&packet, "DC");
    size_t start = begin(&packet, "C");
    put_text(&packet, "unknown");
    put(&packet, "4", 1);
    put(&packet, &port, sizeof port);
    put_text(&packet, "192.0.2.1");
    end(&packet, start);
    give(session, packet.bytes, packet.length);
}

static void send_words(struct session *session, const char *command, const char *word)
{
    struct packet packet = {0};
    size_t start = begin(&packet, command);
    put_text(&packet, word);
    end(&packet, start);
    give(session, packet.bytes, packet.length);
}

static void send_recipient(struct session *session)
{
    struct packet packet = {0};
    const char *address = session->question->address;
    char argument[BUFFER];
    if (plan.smtp) {
        int length = snprintf(argument, sizeof argument, "RCPT TO:<%s>\r\n", address);
        session->sent_ns = now_ns(CLOCK_MONOTONIC);
        give(session, argument, (size_t)length);
        return;
    }
    size_t start = begin(&packet, "DR");
    put_text(&packet, "{rcpt_addr}");
    put_text(&packet, address);
    if (session->all_macros) {
        put_text(&packet, "{rcpt_host}");
        put_text(&packet, "example.test");
        put_text(&packet, "{rcpt_mailer}");
        put_text(&packet, "relay");
    } else {
        put_text(&packet, "{client_addr}");
        put_text(&packet, "192.0.2.1");
        put_text(&packet, "{client_name}");
        put_text(&packet, "unknown");
        put_text(&packet, "{mail_addr}");
        put_text(&packet, "sender@elsewhere.test");
    }
    end(&packet, start);
    snprintf(argument, sizeof argument, "<%s>", address);
    start = begin(&packet, "R");
    put_text(&packet, argument);
    end(&packet, start);
    session->sent_ns = now_ns(CLOCK_MONOTONIC);
    give(session, packet.bytes, packet.length);
}

/* ---- sessions ---- */

static void session_open(struct session *session)
{
    memset(session, 0, offsetof(struct session, bytes));
    session->fd = socket(plan.address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (session->fd < 0 ||
        connect(session->fd, (struct sockaddr *)&plan.address, plan.address_length) != 0)
        die("connect: %s", strerror(errno));
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = session};
    if (epoll_ctl(events_fd, EPOLL_CTL_ADD, session->fd, &event) != 0)
        die("epoll_ctl: %s", strerror(errno));
    open_sessions++;
    if (!plan.smtp)
        send_negotiation(session);
}

/* Another recipient in this session, else another session, else nothing more to do. */
static void session_go_on(struct session *session)
{
    if (session->asked < plan.per_session && handed_out < plan.total) {
        session->question = &plan.questions[handed_out++ % plan.question_count];
        session->asked++;
        session->stage = ASKING;
        send_recipient(session);
        return;
    }
    session->stage = CLOSING;
    if (plan.smtp) {
        give_text(session, "QUIT\r\n");
        return;
    }
    struct packet packet = {0};
    put_command(&packet, "A");
    put_command(&packet, "Q");
    give(session, packet.bytes, packet.length);
}

static void session_close(struct session *session)
{
    close(session->fd);
    open_sessions--;
    sessions++;
    if (handed_out < plan.total)
        session_open(session);
}

static void session_lost(struct session *session)
{
    if (session->stage != CLOSING) {
        if (wrong++ < SHOWN)
            fprintf(stderr, "load: the connection ended at %s\n",
                    session->question ? session->question->address : "its beginning");
        if (session->stage == ASKING)
            answered++;
    }
    session_close(session);
}

/* From one stage of the milter protocol to the next, past those that the milter does not want. */
static void milter_go_on(struct session *session)
{
    for (;;) {
        switch (session->stage++) {
        case OPENING:
            if (session->unwanted & NO_CONNECT)
                continue;
            send_connect(session);
            return;
        case CONNECTED:
            if (session->unwanted & NO_HELO)
                continue;
            send_words(session, "H", "client.test");
            return;
        case GREETED:
            if (plan.idle) {
                ready_sessions++;
                return;
            }
            if (session->unwanted & NO_MAIL)
                continue;
            send_words(session, "M", "<sender@elsewhere.test>");
            return;
        default:
            session_go_on(session);
            return;
        }
    }
}

static void smtp_go_on(struct session *session)
{
    switch (session->stage++) {
    case OPENING:
        give_text(session, "EHLO load.test\r\n");
        return;
    case CONNECTED:
        give_text(session, "MAIL FROM:<sender@elsewhere.test>\r\n");
        session->stage = SENDER;
        return;
    default:
        session_go_on(session);
    }
}

static void judge(struct session *session, char class, const char *text)
{
    latency_ns[answered++] = (uint32_t)(now_ns(CLOCK_MONOTONIC) - session->sent_ns);
    bool right = class == session->question->expected || (plan.tolerant && class == '4');
    if (!right && wrong++ < SHOWN)
        fprintf(stderr, "load: %s: %c expected, answered %c%s%s\n", session->question->address,
                session->question->expected, class, *text ? ", " : "", text);
}

static void on_milter_packet(struct session *session, const unsigned char *packet, size_t length)
{
    uint32_t number;
    if (session->stage == OPENING) {
        if (packet[0] != 'O' || length < 13)
            die("no milter listens there");
        memcpy(&number, packet + 9, sizeof number);
        session->unwanted = ntohl(number);
        session->all_macros = length == 13;
    } else if (session->stage == ASKING) {
        char class = packet[0] == 'c'   ? '2'
                     : packet[0] == 'y' ? (char)packet[1]
                     : packet[0] == 't' ? '4'
                     : packet[0] == 'r' ? '5'
                                        : '?';
        judge(session, class, packet[0] == 'y' ? (const char *)packet + 1 : "");
        session_go_on(session);
        return;
    } else if (packet[0] != 'c') {
        die("the milter answered '%c' before any recipient", packet[0]);
    }
    milter_go_on(session);
}

static void on_smtp_line(struct session *session, const char *line)
{
    if (line[0] == '\0' || line[1] == '\0' || line[2] == '\0' || line[3] == '-')
        return;
    if (session->stage == CLOSING)
        return;
    if (session->stage != ASKING) {
        if (line[0] != '2')
            die("the mail server said: %s", line);
        smtp_go_on(session);
        return;
    }
    judge(session, line[0], line);
    session_go_on(session);
}

/* How many of the bytes are one reply, the whole of which is there; else 0. */
static size_t take_reply(struct session *session)
{
    uint32_t length;
    if (plan.smtp) {
        unsigned char *end_of_line = memchr(session->bytes, '\n', session->used);
        if (!end_of_line)
            return 0;
        end_of_line[end_of_line > session->bytes ? -1 : 0] = '\0';
        on_smtp_line(session, (char *)session->bytes);
        return (size_t)(end_of_line + 1 - session->bytes);
    }
    if (session->used < 5)
        return 0;
    memcpy(&length, session->bytes, sizeof length);
    length = ntohl(length);
    if (length == 0 || length > sizeof session->bytes - 4)
        die("a packet of %u bytes", length);
    if (session->used < 4 + length)
        return 0;
    on_milter_packet(session, session->bytes + 4, length);
    return 4 + length;
}

static void on_readable(struct session *session)
{
    ssize_t got =
        recv(session->fd, session->bytes + session->used, sizeof session->bytes - session->used, 0);
    if (got <= 0) {
        session_lost(session);
        return;
    }
    session->used += (size_t)got;
    for (size_t taken; (taken = take_reply(session)) > 0;) {
        session->used -= taken;
        memmove(session->bytes, session->bytes + taken, session->used);
    }
}

/* ---- the run ---- */

static void run(struct session *all)
{
    for (unsigned i = 0; i < plan.connections && (plan.idle || handed_out < plan.total); i++)
        session_open(&all[i]);
    while (plan.idle ? ready_sessions < plan.connections : open_sessions > 0) {
        struct epoll_event events[EVENTS];
        int count = epoll_wait(events_fd, events, EVENTS, SILENCE_MS);
        if (count == 0)
            die("silence: %u connections wait for an answer", open_sessions);
        for (int i = 0; i < count; i++)
            on_readable(events[i].data.ptr);
    }
}

static int compare(const void *a, const void *b)
{
    uint32_t left = *(const uint32_t *)a, right = *(const uint32_t *)b;
    return (left > right) - (left < right);
}

static double percentile_us(double part)
{
    return answered > 0 ? latency_ns[(size_t)(part * (double)(answered - 1))] / 1000.0 : 0;
}

static void tell(uint64_t elapsed_ns, uint64_t processor_ns)
{
    double seconds = (double)elapsed_ns / 1e9;
    qsort(latency_ns, answered, sizeof *latency_ns, compare);
    printf("{\"recipients\": %llu, \"sessions\": %llu, \"seconds\": %.6f, \"per_second\": %.1f, "
           "\"p50_us\": %.1f, \"p99_us\": %.1f, \"max_us\": %.1f, \"cpu_us\": %.1f, "
           "\"wrong\": %llu}\n",
           (unsigned long long)answered, (unsigned long long)sessions, seconds,
           (double)answered / seconds, percentile_us(0.5), percentile_us(0.99), percentile_us(1),
           (double)processor_ns / 1000.0, (unsigned long long)wrong);
}

static void read_questions(const char *path)
{
    FILE *file = fopen(path, "r");
    if (!file)
        die("%s: %s", path, strerror(errno));
    char line[BUFFER / 4];
    size_t room = 0;
    while (fgets(line, sizeof line, file)) {
        line[strcspn(line, "\n")] = '\0';
        if (!strchr("245", line[0]) || line[1] != ' ')
            die("%s: not a class of reply and an address: %s", path, line);
        if (plan.question_count == room) {
            room = room ? 2 * room : 1024;
            plan.questions = realloc(plan.questions, room * sizeof *plan.questions);
        }
        plan.questions[plan.question_count++] =
            (struct question){.expected = line[0], .address = strdup(line + 2)};
    }
    fclose(file);
    if (plan.question_count == 0)
        die("%s: empty", path);
}

static void read_address(const char *text)
{
    if (strncmp(text, "unix:", 5) == 0 &&
        strlen(text) - 5 < sizeof((struct sockaddr_un *)0)->sun_path) {
        struct sockaddr_un *address = (struct sockaddr_un *)&plan.address;
        address->sun_family = AF_UNIX;
        strcpy(address->sun_path, text + 5);
        plan.address_length = sizeof *address;
        return;
    }
    char host[256];
    const char *port = strrchr(text, ':');
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found = NULL;
    if (strncmp(text, "inet:", 5) != 0 || port < text + 5 || port - text - 5 >= (long)sizeof host)
        die("%s: neither unix:/path nor inet:host:port", text);
    snprintf(host, sizeof host, "%.*s", (int)(port - text - 5), text + 5);
    if (getaddrinfo(host, port + 1, &hints, &found) != 0)
        die("%s: no such address", text);
    memcpy(&plan.address, found->ai_addr, found->ai_addrlen);
    plan.address_length = found->ai_addrlen;
    freeaddrinfo(found);
}

static void read_arguments(int argc, char **argv)
{
    for (int option; (option = getopt(argc, argv, "stic:m:n:p:")) != -1;) {
        uint64_t number = optarg ? strtoull(optarg, NULL, 10) : 0;
        switch (option) {
        case 's':
            plan.smtp = true;
            break;
        case 't':
            plan.tolerant = true;
            break;
        case 'i':
            plan.idle = true;
            break;
        case 'c':
            plan.connections = (unsigned)number;
            break;
        case 'm':
            plan.per_session = (unsigned)number;
            break;
        case 'n':
            plan.total = number;
            break;
        case 'p':
            if (plan.pid_count == PIDS_MAX)
                die("too many processes");
            plan.pids[plan.pid_count++] = (pid_t)number;
            break;
        default:
            exit(64);
        }
    }
    if (argc - optind != (plan.idle ? 1 : 2) || plan.connections == 0 || plan.per_session == 0)
        die("usage: load [-s] [-t] [-i] [-c N] [-m N] [-n N] [-p pid]... address file");
    read_address(argv[optind]);
    if (!plan.idle)
        read_questions(argv[optind + 1]);
}

int main(int argc, char **argv)
{
    read_arguments(argc, argv);
    struct rlimit files = {.rlim_cur = plan.connections + 64, .rlim_max = plan.connections + 64};
    if (plan.connections > 900 && setrlimit(RLIMIT_NOFILE, &files) != 0)
        die("setrlimit: %s", strerror(errno));
    struct session *all = calloc(plan.connections, sizeof *all);
    latency_ns = calloc(plan.total + plan.connections, sizeof *latency_ns);
    events_fd = epoll_create1(EPOLL_CLOEXEC);
    if (!all || !latency_ns || events_fd < 0)
        die("%s", strerror(errno));

    uint64_t processor = processor_time(), start = now_ns(CLOCK_MONOTONIC);
    run(all);
    if (plan.idle) {
        printf("ready\n");
        fflush(stdout);
        while (getchar() != EOF)
            ;
        return 0;
    }
    tell(now_ns(CLOCK_MONOTONIC) - start, processor_time() - processor);
    return wrong > 0;
}
