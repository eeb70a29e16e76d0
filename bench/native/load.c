/* A load client: thousands of WebSocket connections on one thread, cheap enough not to be measured.
 *
 * Each connection sends its upgrade, then the frames of its line of the file --say (frames are
 * separated by \x1e; connections share the lines round robin). It is ready when a frame holds the
 * text --ready (or at once). After that every data frame of at least --least bytes is an event.
 * With --clock, an event holds "t":NANOSECONDS and "n":NUMBER (1, 2, 3 ...): latencies are kept of
 * each delivery, and of the last connection to get each number. `report` on standard input prints
 * them and begins anew; the end of standard input ends it.
 *
 * With --spin it never sleeps: waking it up is then no part of what a send costs the server.
 *
 * With --http a line is a whole HTTP request, sent again whenever its answer has arrived; answers are
 * what is counted as received.
 */
#include "wire.h"

#include <getopt.h>

enum state { IDLE, CONNECTING, UPGRADING, TALKING, DONE };

struct connection {
    int fd;
    enum state state;
    int ready;
    uint8_t *carry; /* the beginning of a frame, the rest of which has not arrived */
    size_t carried;
};

static struct {
    const char *path, *say, *ready, *counters;
    int port, connections, at_once, least, clock, stalled, http, spin;
    double rate;
} options = {.path = "/", .connections = 1, .at_once = 64, .least = 150};

#define BUFFER (1 << 20)
#define CARRY (1 << 20)
#define SAMPLES (1 << 22)
#define NUMBERS (1 << 20)

static struct counters *counters;
static struct connection *connections;
static int poller, opened, opening;
static uint8_t buffer[CARRY + BUFFER];
static char **lines;
static size_t line_count;
static uint32_t *each, *last; /* microseconds */
static size_t each_count, last_count;
static uint32_t *arrived; /* how many connections have got each number */

static void read_lines(const char *path) {
    FILE *file = fopen(path, "r");
    if (!file) fail(path);
    char *line = NULL;
    size_t size = 0;
    ssize_t length;
    while ((length = getline(&line, &size, file)) > 0) {
        if (line[length - 1] == '\n') line[length - 1] = 0;
        lines = realloc(lines, (line_count + 1) * sizeof *lines);
        lines[line_count++] = strdup(line);
    }
    free(line);
    fclose(file);
}

static size_t put_frame(uint8_t *out, int opcode, const char *text, size_t length) {
    size_t at = 0;
    out[at++] = (uint8_t)(0x80 | opcode);
    if (length < 126) {
        out[at++] = (uint8_t)(0x80 | length);
    } else {
        out[at++] = 0x80 | 126;
        out[at++] = (uint8_t)(length >> 8);
        out[at++] = (uint8_t)length;
    }
    const uint8_t mask[4] = {0x12, 0x34, 0x56, 0x78};
    memcpy(out + at, mask, 4);
    at += 4;
    for (size_t i = 0; i < length; i++) out[at + i] = (uint8_t)text[i] ^ mask[i & 3];
    return at + length;
}

static void drop(struct connection *one) {
    if (one->state == DONE) return;
    close(one->fd);
    if (!one->ready) opening--;
    one->state = DONE;
    counters->lost++;
}

static void mark_ready(struct connection *one) {
    if (one->ready) return;
    one->ready = 1;
    opening--;
    counters->ready++;
    if (one - connections < options.stalled) epoll_ctl(poller, EPOLL_CTL_DEL, one->fd, NULL);
}

static void ask(struct connection *one);

static void open_one(struct connection *one) {
    one->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (one->fd < 0) fail("socket");
    if (one - connections < options.stalled) {
        int small = 4096;
        setsockopt(one->fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    }
    no_delay(one->fd);
    struct sockaddr_in address = loopback(options.port);
    if (connect(one->fd, (struct sockaddr *)&address, sizeof address) && errno != EINPROGRESS)
        fail("connect");
    one->state = CONNECTING;
    struct epoll_event want = {.events = EPOLLOUT, .data.ptr = one};
    epoll_ctl(poller, EPOLL_CTL_ADD, one->fd, &want);
    opening++;
}

static void upgrade(struct connection *one) {
    int error = 0;
    socklen_t size = sizeof error;
    getsockopt(one->fd, SOL_SOCKET, SO_ERROR, &error, &size);
    if (error) {
        drop(one);
        return;
    }
    struct epoll_event reads = {.events = EPOLLIN, .data.ptr = one};
    if (options.http) {
        one->state = TALKING;
        mark_ready(one);
        epoll_ctl(poller, EPOLL_CTL_MOD, one->fd, &reads);
        ask(one);
        return;
    }
    char request[2048];
    int length = snprintf(request, sizeof request,
                          "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUpgrade: websocket\r\n"
                          "Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
                          "Sec-WebSocket-Version: 13\r\nUser-Agent: load\r\n\r\n",
                          options.path, options.port);
    if (write(one->fd, request, (size_t)length) != length) {
        drop(one);
        return;
    }
    one->state = UPGRADING;
    epoll_ctl(poller, EPOLL_CTL_MOD, one->fd, &reads);
}

static void say(struct connection *one) {
    static uint8_t out[1 << 17];
    size_t at = 0;
    if (line_count) {
        const char *text = lines[(size_t)(one - connections) % line_count];
        while (text && *text) {
            const char *end = strchr(text, 0x1e);
            size_t length = end ? (size_t)(end - text) : strlen(text);
            at += put_frame(out + at, 1, text, length);
            text = end ? end + 1 : NULL;
        }
    }
    if (at && write(one->fd, out, at) != (ssize_t)at) drop(one);
    if (!options.ready) mark_ready(one);
}

static uint64_t number_after(const uint8_t *text, size_t length, const char *name) {
    const uint8_t *found = memmem(text, length, name, strlen(name));
    return found ? strtoull((const char *)found + strlen(name), NULL, 10) : 0;
}

static void note_latency(const uint8_t *text, size_t length) {
    uint64_t sent = number_after(text, length, "\"t\":"), now = now_ns();
    uint64_t number = number_after(text, length, "\"n\":");
    if (!sent) return;
    uint32_t took = (uint32_t)((now - sent) / 1000);
    if (each_count < SAMPLES) each[each_count++] = took;
    uint64_t all = counters->ready - (uint64_t)options.stalled;
    if (number && ++arrived[number % NUMBERS] == all && last_count < SAMPLES)
        last[last_count++] = took;
}

static void take_frame(struct connection *one, int opcode, const uint8_t *text, size_t length) {
    if (opcode == 9) {
        uint8_t pong[256];
        size_t size = put_frame(pong, 10, (const char *)text, length);
        if (write(one->fd, pong, size) < 0) drop(one);
    } else if (opcode == 8) {
        drop(one);
    } else if (!one->ready) {
        if (options.ready && memmem(text, length, options.ready, strlen(options.ready)))
            mark_ready(one);
    } else if (length >= (size_t)options.least) {
        counters->received++;
        if (options.clock) note_latency(text, length);
    }
}

/* Take the whole frames of `data`, and return how much of it they were. */
static size_t take_frames(struct connection *one, const uint8_t *data, size_t size) {
    size_t at = 0;
    while (one->state == TALKING && size - at >= 2) {
        size_t head = 2, length = data[at + 1] & 0x7f;
        if (length == 126) {
            head = 4;
            if (size - at < head) break;
            length = (size_t)data[at + 2] << 8 | data[at + 3];
        } else if (length == 127) {
            head = 10;
            if (size - at < head) break;
            length = 0;
            for (int i = 2; i < 10; i++) length = length << 8 | data[at + (size_t)i];
        }
        if (size - at < head + length) break;
        take_frame(one, data[at] & 15, data + at + head, length);
        at += head + length;
    }
    return at;
}

static void keep(struct connection *one, const uint8_t *data, size_t size) {
    one->carried = size;
    if (!size) {
        free(one->carry);
        one->carry = NULL;
        return;
    }
    one->carry = realloc(one->carry, size);
    memcpy(one->carry, data, size);
}

static void take(struct connection *one) {
    uint8_t *data = buffer + CARRY - one->carried;
    ssize_t got = recv(one->fd, buffer + CARRY, BUFFER, 0);
    if (got < 0 && errno == EAGAIN) return;
    if (got <= 0) {
        drop(one);
        return;
    }
    counters->bytes += (uint64_t)got;
    if (one->carried) memcpy(data, one->carry, one->carried);
    size_t size = one->carried + (size_t)got, at = 0;
    if (one->state == UPGRADING) {
        uint8_t *end = memmem(data, size, "\r\n\r\n", 4);
        if (end && memcmp(data, "HTTP/1.1 101", 12)) {
            counters->refused++;
            drop(one);
            return;
        }
        if (end) {
            at = (size_t)(end + 4 - data);
            one->state = TALKING;
            say(one);
        }
    }
    if (one->state == TALKING) at += take_frames(one, data + at, size - at);
    if (one->state != DONE) keep(one, data + at, size - at);
}

static void ask(struct connection *one) {
    const char *request = lines[(size_t)(one - connections) % line_count];
    char text[1 << 14];
    size_t at = 0;
    for (; *request && at < sizeof text; request++) { /* \x1e stands for the end of a line */
        if (*request == 0x1e) text[at++] = '\r';
        text[at++] = *request == 0x1e ? '\n' : *request;
    }
    if (write(one->fd, text, at) != (ssize_t)at) drop(one);
}

/* Take an HTTP answer of known length, and ask again. */
static void take_answer(struct connection *one) {
    uint8_t *data = buffer + CARRY - one->carried;
    ssize_t got = recv(one->fd, buffer + CARRY, BUFFER, 0);
    if (got < 0 && errno == EAGAIN) return;
    if (got <= 0) {
        drop(one);
        return;
    }
    if (one->carried) memcpy(data, one->carry, one->carried);
    size_t size = one->carried + (size_t)got;
    uint8_t *body = memmem(data, size, "\r\n\r\n", 4);
    size_t length = number_after(data, size, "content-length: ");
    if (!body || (size_t)(data + size - body) < length + 4) {
        keep(one, data, size);
        return;
    }
    if (memcmp(data, "HTTP/1.1 200", 12)) counters->refused++;
    keep(one, data, 0);
    counters->received++;
    ask(one);
}

static int by_size(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

static void print_samples(const char *name, uint32_t *samples, size_t count) {
    qsort(samples, count, sizeof *samples, by_size);
    printf("\"%s\": {\"count\": %zu", name, count);
    const double shares[] = {0.5, 0.9, 0.99, 0.999, 1.0};
    const char *names[] = {"p50", "p90", "p99", "p999", "max"};
    for (int i = 0; count && i < 5; i++)
        printf(", \"%s\": %u", names[i], samples[(size_t)(shares[i] * (double)(count - 1))]);
    printf("}");
}

static void report(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    printf("{");
    print_samples("each", each, each_count);
    printf(", ");
    print_samples("last", last, last_count);
    printf(", \"cpu\": %.3f}\n", (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
                                     (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6);
    fflush(stdout);
    each_count = last_count = 0;
    memset(arrived, 0, NUMBERS * sizeof *arrived);
}

static void command(void) {
    char text[64];
    ssize_t size = read(0, text, sizeof text);
    if (size <= 0) exit(0);
    report();
}

static void parse(int count, char **arguments) {
    static const struct option known[] = {
        {"port", 1, 0, 'p'},    {"path", 1, 0, 'u'},    {"connections", 1, 0, 'c'},
        {"at-once", 1, 0, 'a'}, {"say", 1, 0, 's'},     {"ready", 1, 0, 'r'},
        {"least", 1, 0, 'l'},   {"counters", 1, 0, 'f'}, {"clock", 0, 0, 't'},
        {"stalled", 1, 0, 'x'}, {"rate", 1, 0, 'e'},    {"http", 0, 0, 'h'},    {"spin", 0, 0, 'i'},
        {0, 0, 0, 0}};
    int got;
    while ((got = getopt_long(count, arguments, "", known, NULL)) != -1) switch (got) {
            case 'p': options.port = atoi(optarg); break;
            case 'u': options.path = optarg; break;
            case 'c': options.connections = atoi(optarg); break;
            case 'a': options.at_once = atoi(optarg); break;
            case 's': options.say = optarg; break;
            case 'r': options.ready = optarg; break;
            case 'l': options.least = atoi(optarg); break;
            case 'f': options.counters = optarg; break;
            case 't': options.clock = 1; break;
            case 'x': options.stalled = atoi(optarg); break;
            case 'i': options.spin = 1; break;
            case 'h': options.http = 1; break;
            case 'e': options.rate = atof(optarg); break;
            default: exit(2);
        }
    if (!options.port || !options.counters) {
        fprintf(stderr, "load: --port and --counters are needed, see load.c\n");
        exit(2);
    }
}

static void open_more(uint64_t begun) {
    double allowed = options.rate > 0 ? options.rate * (double)(now_ns() - begun) / 1e9 : 1e18;
    while (opened < options.connections && opening < options.at_once && opened < allowed)
        open_one(&connections[opened++]);
}

int main(int count, char **arguments) {
    parse(count, arguments);
    raise_file_limit();
    counters = open_counters(options.counters);
    memset((void *)counters, 0, sizeof *counters);
    if (options.say) read_lines(options.say);
    connections = calloc((size_t)options.connections, sizeof *connections);
    each = malloc(SAMPLES * sizeof *each);
    last = malloc(SAMPLES * sizeof *last);
    arrived = calloc(NUMBERS, sizeof *arrived);
    poller = epoll_create1(0);
    struct epoll_event want = {.events = EPOLLIN, .data.ptr = NULL}, events[512];
    epoll_ctl(poller, EPOLL_CTL_ADD, 0, &want);
    uint64_t begun = now_ns();
    for (;;) {
        open_more(begun);
        int pending = opened < options.connections && options.rate > 0;
        int ready = epoll_wait(poller, events, 512, options.spin ? 0 : pending ? 1 : -1);
        for (int i = 0; i < ready; i++) {
            struct connection *one = events[i].data.ptr;
            if (!one) command();
            else if (one->state == CONNECTING) upgrade(one);
            else if (options.http) take_answer(one);
            else if (one->state != DONE) take(one);
        }
    }
}
