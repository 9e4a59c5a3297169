/*
 * bench_codec - bytes and nanoseconds per fix of the wire, against protobuf-c's generic decoder on the same frames (control).
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "core/wire.h"
#include "schoolward.pb-c.h"

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int32_t noise(int32_t n)
{
    return (int32_t)(lrand48() % (2 * n + 1)) - n;
}

static struct event driving(int i)
{
    struct event e = {.time_ms = 1763856000000LL + i * 1000, .kind = EVENT_FIX, .clock = EVENT_CLOCK_GNSS};
    e.fix = (struct event_fix){511600000 + i * 950 + noise(90), 714700000 + i * 1400 + noise(90), 15000 + noise(300), 5500 + noise(60), 3470 + noise(4),
                               9 + noise(1), (uint8_t)(12 + noise(1)), EVENT_FIX_3D, 0};
    return e;
}

static struct wire_frame frame;
static uint8_t buf[WIRE_FRAME_MAX];

/* WebSocket header of a client's frame (RFC 6455 5.2): 2 bytes, 2 more from 126 on, 4 of mask. */
static size_t with_header(size_t n)
{
    return n + 6 + (n > 125 ? 2 : 0);
}

struct cost {
    double encode_ns, decode_ns, control_ns;
};

static struct cost measure(const struct event *e, size_t n)
{
    enum { TURNS = 20000 };
    size_t len = 0;
    const char *fault;
    struct cost c;
    int turns = TURNS / (int)(n > 1 ? 10 : 1);
    double t = now_s();
    for (int i = 0; i < turns; i++)
        if (wire_encode_batch(EVENT_LANE_BULK, 15768000, false, e, n, buf, sizeof buf, &len) != RC_OK)
            exit(1);
    c.encode_ns = (now_s() - t) * 1e9 / turns / (double)n;
    t = now_s();
    for (int i = 0; i < turns; i++)
        if (wire_decode(buf, len, &frame, &fault) != RC_OK)
            exit(1);
    c.decode_ns = (now_s() - t) * 1e9 / turns / (double)n;
    t = now_s();
    for (int i = 0; i < turns; i++) {
        Schoolward__Frame *m = schoolward__frame__unpack(NULL, len, buf);
        if (m == NULL)
            exit(1);
        schoolward__frame__free_unpacked(m, NULL);
    }
    c.control_ns = (now_s() - t) * 1e9 / turns / (double)n;
    return c;
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

int main(void)
{
    struct event e[60];
    size_t full = 0, worst = 0, batch = 0;
    for (int k = 0; k < 2000; k++) {
        size_t len;
        e[0] = driving(k * 31);
        if (wire_encode_batch(EVENT_LANE_BULK, 15768000, false, e, 1, buf, sizeof buf, &len) != RC_OK)
            return 1;
        full += with_header(len);
        worst = with_header(len) > worst ? with_header(len) : worst;
    }
    for (int i = 0; i < 60; i++)
        e[i] = driving(i);
    if (wire_encode_batch(EVENT_LANE_BULK, 15768000, false, e, 60, buf, sizeof buf, &batch) != RC_OK)
        return 1;
    printf("full_fix_bytes=%zu\nfull_fix_bytes_mean=%.2f\nbatch_fix_bytes=%.2f\n", worst, (double)full / 2000, (double)with_header(batch) / 60);
    double ratio1[5], ratio60[5];
    struct cost one = {0}, many = {0};
    for (int k = 0; k < 5; k++) {
        one = measure(e, 1);
        many = measure(e, 60);
        ratio1[k] = one.decode_ns / one.control_ns;
        ratio60[k] = many.decode_ns / many.control_ns;
    }
    qsort(ratio1, 5, sizeof ratio1[0], by_size);
    qsort(ratio60, 5, sizeof ratio60[0], by_size);
    printf("encode_ns_alone=%.0f\ndecode_ns_alone=%.0f\nencode_ns_batch=%.0f\ndecode_ns_batch=%.0f\n", one.encode_ns, one.decode_ns, many.encode_ns, many.decode_ns);
    printf("decode_over_protobuf_c_alone=%.2f\ndecode_over_protobuf_c_batch=%.2f\n", ratio1[2], ratio60[2]);
    return 0;
}
