/* The physical limit: an epoll server that only sends ready frames to every connection.
 *
 * It implements the part of WebSocket that the load client needs. Its commands on standard input are
 * those of bench/servers/driver.py: `run CHANNELS EVENTS BYTES WINDOW JOIN RATE` publishes EVENTS a turn
 * to random channels (connection N belongs to channel N % CHANNELS), at the load client's pace or with
 * RATE turns a second. `stop` ends that.
 */
#include "wire.h"

struct subscriber {
    int fd;
    int upgraded;
};

static struct counters *counters;
static struct subscriber *subscribers;
static int subscriber_count, poller, listener;
static int channels = 1, per_turn = 1, bytes = 200, joins, running;
static double rate;
static uint64_t window, published, expected, next_at, offset_base;
static uint8_t frame[1 << 20];

static const char ACCEPTED[] =
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

static size_t put_event(uint8_t *out, uint64_t number, int channel) {
    char text[4096], filler[2048];
    memset(filler, 'x', sizeof filler);
    char clock[96];
    int used = snprintf(clock, sizeof clock, "{\"t\":%llu,\"n\":%llu,\"x\":\"",
                        (unsigned long long)now_ns(), (unsigned long long)number);
    int length = snprintf(
        text, sizeof text,
        "{\"type\":\"event\",\"channel\":\"bench-%d\",\"event\":\"bench.step\","
        "\"id\":\"01930000-0000-7000-8000-%012llu\",\"epoch\":\"k3v9q2wz\",\"offset\":%llu,"
        "\"time\":1763836800123,\"data\":%s%.*s\"}}",
        channel, (unsigned long long)number, (unsigned long long)number, clock,
        bytes - used - 2 > 0 ? bytes - used - 2 : 0, filler);
    size_t at = 0;
    out[at++] = 0x81;
    if (length < 126) {
        out[at++] = (uint8_t)length;
    } else {
        out[at++] = 126;
        out[at++] = (uint8_t)(length >> 8);
        out[at++] = (uint8_t)length;
    }
    memcpy(out + at, text, (size_t)length);
    return at + (size_t)length;
}

static void send_to(int channel, size_t size) {
    for (int i = channel; i < subscriber_count; i += channels)
        if (subscribers[i].upgraded) {
            ssize_t sent = send(subscribers[i].fd, frame, size, MSG_NOSIGNAL);
            if (sent >= 0 && sent < (ssize_t)size) fail("the load client reads too slowly");
        }
}

static void publish(void) {
    size_t size = 0;
    int members = subscriber_count / channels;
    for (int i = 0; i < per_turn; i++) {
        int channel = channels > 1 ? rand() % channels : 0;
        size_t length = put_event(frame + size, ++published - offset_base, channel);
        expected += (uint64_t)members;
        if (joins) {
            size += length;
        } else {
            send_to(channel, length);
        }
    }
    if (joins) send_to(0, size);
}

static void accept_all(void) {
    int fd;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
        no_delay(fd);
        subscribers[subscriber_count].fd = fd;
        struct epoll_event interest = {.events = EPOLLIN, .data.ptr = &subscribers[subscriber_count++]};
        epoll_ctl(poller, EPOLL_CTL_ADD, fd, &interest);
    }
}

static void receive(struct subscriber *one) {
    char data[65536];
    ssize_t got = recv(one->fd, data, sizeof data, 0);
    if (got > 0 && !one->upgraded) {
        one->upgraded = 1;
        if (send(one->fd, ACCEPTED, sizeof ACCEPTED - 1, MSG_NOSIGNAL) < 0) one->upgraded = 0;
    } else if (got == 0 || (got < 0 && errno != EAGAIN)) {
        epoll_ctl(poller, EPOLL_CTL_DEL, one->fd, NULL);
        close(one->fd);
        one->upgraded = 0;
    }
}

static void command(void) {
    char text[256] = {0};
    ssize_t size = read(0, text, sizeof text - 1);
    if (size <= 0) exit(0);
    if (!strncmp(text, "stop", 4)) {
        running = 0;
        return;
    }
    unsigned long long window_size = 0;
    if (sscanf(text, "run %d %d %d %llu %d %lf", &channels, &per_turn, &bytes, &window_size, &joins, &rate) != 6)
        fail("bad command");
    window = window_size;
    offset_base = published;
    expected = counters->received;
    next_at = now_ns();
    running = 1;
}

static int due(void) {
    if (!running) return 0;
    if (rate <= 0) return expected - counters->received <= window;
    if (now_ns() < next_at) return 0;
    next_at += (uint64_t)(1e9 / rate);
    return 1;
}

int main(int count, char **arguments) {
    if (count != 2) exit(2);
    raise_file_limit();
    counters = open_counters(arguments[1]);
    subscribers = calloc(20000, sizeof *subscribers);
    listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    struct sockaddr_in address = loopback(0);
    socklen_t size = sizeof address;
    if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 4096))
        fail("listen");
    getsockname(listener, (struct sockaddr *)&address, &size);
    printf("ready %d\n", ntohs(address.sin_port));
    fflush(stdout);
    poller = epoll_create1(0);
    struct epoll_event interest = {.events = EPOLLIN, .data.ptr = NULL}, events[256];
    epoll_ctl(poller, EPOLL_CTL_ADD, 0, &interest);
    interest.data.ptr = &listener;
    epoll_ctl(poller, EPOLL_CTL_ADD, listener, &interest);
    for (;;) {
        int ready = epoll_wait(poller, events, 256, running ? (rate > 0 ? 1 : 0) : -1);
        for (int i = 0; i < ready; i++) {
            if (!events[i].data.ptr) command();
            else if (events[i].data.ptr == &listener) accept_all();
            else receive(events[i].data.ptr);
        }
        if (due()) publish();
    }
}
