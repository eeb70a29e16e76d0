/* Load client: thousands of WebSocket connections on one thread, with little cost of its own.
 *
 * Each connection sends its upgrade, then the frames of its line of the file --frames (separated by
 * \x1e; connections share the lines round robin). A connection is ready when a frame contains the
 * text --ready (or at once). After that, every data frame of at least --least bytes is an event.
 * With --clock, an event contains "t":NANOSECONDS and "n":NUMBER (1, 2, 3 ...). The client stores the
 * latency of each delivery, and of the last delivery of each number. `report` on standard input prints
 * and clears the latencies; the end of standard input ends the client.
 *
 * With --spin, the client never sleeps: to wake a client is then no part of the server's cost.
 *
 * With --http, a line is a whole HTTP request, sent again after each response; the responses count as
 * received.
 */
#include "wire.h"

#include <getopt.h>

enum state { IDLE, CONNECTING, UPGRADING, OPEN, DONE };

struct connection {
    int fd;
    enum state state;
    int ready;
    uint8_t *carry; /* start of an incomplete frame */
    size_t carried;
};

static struct {
    const char *path, *frames, *ready, *counters;
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
static uint32_t *arrived; /* number of connections that received each number */

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

static void send_request(struct connection *one);

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
    struct epoll_event interest = {.events = EPOLLOUT, .data.ptr = one};
    epoll_ctl(poller, EPOLL_CTL_ADD, one->fd, &interest);
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
        one->state = OPEN;
        mark_ready(one);
        epoll_ctl(poller, EPOLL_CTL_MOD, one->fd, &reads);
        send_request(one);
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

static void send_frames(struct connection *one) {
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
    const uint8_t *start = memmem(text, length, name, strlen(name));
    return start ? strtoull((const char *)start + strlen(name), NULL, 10) : 0;
}

static void record_latency(const uint8_t *text, size_t length) {
    uint64_t sent = number_after(text, length, "\"t\":"), now = now_ns();
    uint64_t number = number_after(text, length, "\"n\":");
    if (!sent) return;
    uint32_t latency = (uint32_t)((now - sent) / 1000);
    if (each_count < SAMPLES) each[each_count++] = latency;
    uint64_t all = counters->ready - (uint64_t)options.stalled;
    if (number && ++arrived[number % NUMBERS] == all && last_count < SAMPLES)
        last[last_count++] = latency;
}

static void handle_frame(struct connection *one, int opcode, const uint8_t *text, size_t length) {
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
        if (options.clock) record_latency(text, length);
    }
}

/* Handle the complete frames of `data`, and return their size. */
static size_t handle_frames(struct connection *one, const uint8_t *data, size_t size) {
    size_t at = 0;
    while (one->state == OPEN && size - at >= 2) {
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
        handle_frame(one, data[at] & 15, data + at + head, length);
        at += head + length;
    }
    return at;
}

static void store_rest(struct connection *one, const uint8_t *data, size_t size) {
    one->carried = size;
    if (!size) {
        free(one->carry);
        one->carry = NULL;
        return;
    }
    one->carry = realloc(one->carry, size);
    memcpy(one->carry, data, size);
}

static void receive_frames(struct connection *one) {
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
            one->state = OPEN;
            send_frames(one);
        }
    }
    if (one->state == OPEN) at += handle_frames(one, data + at, size - at);
    if (one->state != DONE) store_rest(one, data + at, size - at);
}

static void send_request(struct connection *one) {
    const char *request = lines[(size_t)(one - connections) % line_count];
    char text[1 << 14];
    size_t at = 0;
    for (; *request && at < sizeof text; request++) { /* \x1e is the end of a line */
        if (*request == 0x1e) text[at++] = '\r';
        text[at++] = *request == 0x1e ? '\n' : *request;
    }
    if (write(one->fd, text, at) != (ssize_t)at) drop(one);
}

/* Receive an HTTP response of known length, and repeat the request. */
static void receive_response(struct connection *one) {
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
        store_rest(one, data, size);
        return;
    }
    if (memcmp(data, "HTTP/1.1 200", 12)) counters->refused++;
    store_rest(one, data, 0);
    counters->received++;
    send_request(one);
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
        {"at-once", 1, 0, 'a'}, {"frames", 1, 0, 's'},  {"ready", 1, 0, 'r'},
        {"least", 1, 0, 'l'},   {"counters", 1, 0, 'f'}, {"clock", 0, 0, 't'},
        {"stalled", 1, 0, 'x'}, {"rate", 1, 0, 'e'},    {"http", 0, 0, 'h'},    {"spin", 0, 0, 'i'},
        {0, 0, 0, 0}};
    int option;
    while ((option = getopt_long(count, arguments, "", known, NULL)) != -1) switch (option) {
            case 'p': options.port = atoi(optarg); break;
            case 'u': options.path = optarg; break;
            case 'c': options.connections = atoi(optarg); break;
            case 'a': options.at_once = atoi(optarg); break;
            case 's': options.frames = optarg; break;
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
        fprintf(stderr, "load: --port and --counters are missing: see load.c\n");
        exit(2);
    }
}

static void open_more(uint64_t start) {
    double allowed = options.rate > 0 ? options.rate * (double)(now_ns() - start) / 1e9 : 1e18;
    while (opened < options.connections && opening < options.at_once && opened < allowed)
        open_one(&connections[opened++]);
}

int main(int count, char **arguments) {
    parse(count, arguments);
    raise_file_limit();
    counters = open_counters(options.counters);
    memset((void *)counters, 0, sizeof *counters);
    if (options.frames) read_lines(options.frames);
    connections = calloc((size_t)options.connections, sizeof *connections);
    each = malloc(SAMPLES * sizeof *each);
    last = malloc(SAMPLES * sizeof *last);
    arrived = calloc(NUMBERS, sizeof *arrived);
    poller = epoll_create1(0);
    struct epoll_event interest = {.events = EPOLLIN, .data.ptr = NULL}, events[512];
    epoll_ctl(poller, EPOLL_CTL_ADD, 0, &interest);
    uint64_t start = now_ns();
    for (;;) {
        open_more(start);
        int pending = opened < options.connections && options.rate > 0;
        int ready = epoll_wait(poller, events, 512, options.spin ? 0 : pending ? 1 : -1);
        for (int i = 0; i < ready; i++) {
            struct connection *one = events[i].data.ptr;
            if (!one) command();
            else if (one->state == CONNECTING) upgrade(one);
            else if (options.http) receive_response(one);
            else if (one->state != DONE) receive_frames(one);
        }
    }
}
