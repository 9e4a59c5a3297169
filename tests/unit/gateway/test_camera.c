/* Cameras: frames with noise, halves and wrong sums, bodies by model, and the driver against a peer on a pty and on TCP. */
#include "devices_kit.h"

#include "core/camera_word.h"
#include "gateway/drivers/camera_frame.h"

static const struct regmap_camera standard = {
    .flag_begin = 1, .flag_end = 2, .flag_event = 0, .work_standby = 1, .work_working = 2, .work_maintenance = 3, .work_fault = 4};

struct parsed {
    unsigned frames, faults;
    enum camera_fault last_fault;
    struct camera_frame f;
};

static struct parsed parse(struct camera_parser *p, const uint8_t *bytes, size_t n)
{
    struct parsed r = {.frames = 0};
    for (size_t i = 0; i < n; i++) {
        enum camera_fault fault;
        struct camera_frame f;
        enum rc rc = camera_parse(p, bytes[i], &f, &fault);
        if (rc == RC_OK) {
            r.frames++;
            r.f = f;
        } else if (rc == RC_INVALID) {
            r.faults++;
            r.last_fault = fault;
        }
    }
    return r;
}

static size_t from_hex(const char *hex, uint8_t *out, size_t cap)
{
    size_t n = 0;
    while (n < cap && sscanf(hex + 2 * n, "%2hhx", &out[n]) == 1)
        n++;
    return n;
}

/* A frame goes through unchanged, and any changed byte is noticed, except in the sequence, which the sum leaves out. */
static void check_frame(uint8_t *bytes, size_t n, struct camera_frame *ret_f)
{
    uint8_t again[CAMERA_FRAME_MAX];
    static struct camera_parser p;
    memset(&p, 0, sizeof p);
    struct parsed r = parse(&p, bytes, n);
    assert_int_equal(r.frames, 1);
    assert_int_equal(r.faults, 0);
    assert_int_equal(camera_build(&r.f, again), n);
    assert_memory_equal(again, bytes, n);
    for (size_t k = 1; k + 1 < n; k++) {
        if (k == 2 || k == 3)
            continue;
        bytes[k] ^= 0x20; /* makes no 7E or 7D of what is in these frames */
        static struct camera_parser q;
        memset(&q, 0, sizeof q);
        struct parsed bad = parse(&q, bytes, n);
        assert_int_equal(bad.frames, 0);
        assert_true(bad.faults > 0);
        bytes[k] ^= 0x20;
    }
    *ret_f = r.f;
}

static void sums(void **state)
{
    (void)state;
    struct camera_frame f = {.sequence = 1, .vendor = 0x1234, .peripheral = 0x65, .function = CAMERA_STATE_REPORT, .n = 5, .data = {2, 0, 0, 0, 9}},
                        g;
    uint8_t wire[CAMERA_FRAME_MAX];
    size_t n = camera_build(&f, wire);
    assert_int_equal(wire[1], (0x12 + 0x34 + 0x65 + 0x38 + 2 + 9) & 0xff);
    check_frame(wire, n, &g);
    assert_int_equal(g.vendor, 0x1234);
}

static void recorded_file(void **state)
{
    (void)state;
    const char *data = getenv("SCHOOLWARD_TEST_DATA");
    char path[512], line[1024];
    snprintf(path, sizeof path, "%s/protocols/jsatl12_peripheral_frames.txt", data != NULL ? data : "");
    FILE *f = data == NULL ? NULL : fopen(path, "re");
    if (f == NULL)
        skip();
    unsigned frames = 0;
    while (fgets(line, sizeof line, f) != NULL) {
        uint8_t bytes[512];
        if (strncmp(line, "7e", 2) != 0)
            continue;
        struct camera_frame frame;
        check_frame(bytes, from_hex(line, bytes, sizeof bytes), &frame);
        assert_int_equal(frame.peripheral, EVENT_CAMERA_ADAS);
        assert_int_equal(frame.function, CAMERA_ALARM);
        frames++;
    }
    fclose(f);
    assert_int_equal(frames, 2);
}

static void escapes(void **state)
{
    (void)state;
    struct camera_frame f = {.sequence = 0x7E7D, .vendor = 0x7D7E, .peripheral = 0x65, .function = 0x36, .n = 5, .data = {0x30, 0x7E, 8, 0x7D, 0x55}};
    uint8_t wire[CAMERA_FRAME_MAX];
    size_t n = camera_build(&f, wire);
    assert_memory_equal(wire + n - 8, ((uint8_t[]){0x30, 0x7D, 2, 8, 0x7D, 1, 0x55, 0x7E}), 8); /* 30 7e 08 7d 55 -> 30 7d02 08 7d01 55 */
    static struct camera_parser p;
    memset(&p, 0, sizeof p);
    struct parsed r = parse(&p, wire, n);
    assert_int_equal(r.frames, 1);
    assert_int_equal(r.f.sequence, 0x7E7D);
    assert_memory_equal(r.f.data, f.data, 5);
}

static void finds_its_way_back(void **state)
{
    (void)state;
    struct camera_frame f = {.sequence = 9, .vendor = 1, .peripheral = 0x65, .function = 0x2F};
    uint8_t frame[CAMERA_FRAME_MAX], line[4 * CAMERA_FRAME_MAX];
    static uint8_t endless[80000];
    size_t n = camera_build(&f, frame), m = 0;
    static const uint8_t noise[] = {0x00, 0xFF, 0x13, 0x7D};
    memcpy(line + m, noise, 4), m += 4;
    memcpy(line + m, frame, n - 4), m += n - 4; /* half a frame */
    memcpy(line + m, frame, n), m += n;
    memcpy(line + m, frame + 1, n - 1), m += n - 1; /* one 7E between two */
    memcpy(line + m, "\x7e\x7e\x7e", 3), m += 3;
    memcpy(line + m, frame, n), m += n;
    memcpy(line + m, "\x7e\x01\x7d\x09\x05\x7e", 6), m += 6; /* an escape that is none */
    memcpy(line + m, frame, n), m += n;
    static struct camera_parser p;
    memset(&p, 0, sizeof p);
    struct parsed r = parse(&p, line, m);
    assert_int_equal(r.frames, 4);

    memset(endless, 0x41, sizeof endless); /* a frame without end is cut, the next is understood */
    static struct camera_parser q;
    memset(&q, 0, sizeof q);
    struct parsed first = parse(&q, frame, 1);
    assert_int_equal(first.frames, 0);
    parse(&q, endless, sizeof endless);
    r = parse(&q, frame, n);
    assert_int_equal(r.frames, 1);
    assert_int_equal(r.last_fault, CAMERA_LONG);
}

static void times(void **state)
{
    (void)state;
    const int64_t ms = INT64_C(1795390245000); /* 2026-11-22T23:30:45Z, 07:30:45 of the 23rd in China */
    assert_int_equal(camera_time((uint8_t[]){0x26, 0x11, 0x23, 0x07, 0x30, 0x45}, REGMAP_TIME_AUTO), ms);
    assert_int_equal(camera_time((uint8_t[]){26, 11, 23, 7, 30, 45}, REGMAP_TIME_AUTO), ms);
    assert_int_equal(camera_time((uint8_t[]){26, 11, 23, 7, 30, 45}, REGMAP_TIME_BINARY), ms);
    assert_int_equal(camera_time((uint8_t[]){26, 11, 23, 7, 30, 45}, REGMAP_TIME_BCD), 0);
    assert_int_equal(camera_time((uint8_t[]){0, 0, 0, 0, 0, 0}, REGMAP_TIME_AUTO), 0);
    assert_int_equal(camera_time((uint8_t[]){0x26, 0x02, 0x30, 0, 0, 0}, REGMAP_TIME_BCD), 0); /* no 30th of February */
    struct event_fix fix = {.lat_e7 = 312304167, .lon_e7 = 1214737005, .speed_mmps = 8333, .track_cdeg = 0, .alt_dm = 45, .mode = EVENT_FIX_3D};
    uint8_t body[CAMERA_VEHICLE_SIZE];
    camera_vehicle(&fix, ms, 1234567, CAMERA_IGNITION | CAMERA_BRAKE, body);
    static const uint8_t want[CAMERA_VEHICLE_SIZE] = {30,   0,    0,    0,    0,    0,    0,    0,    0,    4,    0x01, 0xDC, 0x89,
                                                      0x31, 0x07, 0x3D, 0x8F, 0xBD, 0x26, 0x11, 0x23, 0x07, 0x30, 0x45, 0x04, 0x11};
    assert_memory_equal(body + 18, want + 18, 8);
    assert_int_equal((uint32_t)body[2] << 24 | (uint32_t)body[3] << 16 | (uint32_t)body[4] << 8 | body[5], 12345); /* tenths of a kilometre */
    assert_int_equal(body[0], 30);
    assert_int_equal((uint32_t)body[10] << 24 | (uint32_t)body[11] << 16 | (uint32_t)body[12] << 8 | body[13], 31230417);
    assert_int_equal((uint32_t)body[14] << 24 | (uint32_t)body[15] << 16 | (uint32_t)body[16] << 8 | body[17], 121473701);
    fix.mode = EVENT_FIX_NONE;
    fix.lat_e7 = fix.lon_e7 = EVENT_UNKNOWN;
    camera_vehicle(&fix, ms, 1234567, CAMERA_IGNITION | CAMERA_BRAKE, body);
    assert_int_equal(body[24] << 8 | body[25], 0x11); /* not positioned */
}

static struct camera_frame alarm_frame(uint8_t unit, uint16_t sequence, uint32_t id, uint8_t flag, uint8_t type)
{
    struct camera_frame f = {.sequence = sequence, .vendor = 0x1234, .peripheral = unit, .function = CAMERA_ALARM, .n = 31};
    f.data[0] = (uint8_t)(id >> 24);
    f.data[1] = (uint8_t)(id >> 16);
    f.data[2] = (uint8_t)(id >> 8);
    f.data[3] = (uint8_t)id;
    f.data[4] = flag;
    f.data[5] = type;
    f.data[6] = unit == EVENT_CAMERA_DSM ? 7 : 40;
    f.data[11] = 55; /* km/h */
    return f;
}

static void bodies(void **state)
{
    (void)state;
    static struct regmap_camera plain;
    struct camera_alarm a;
    plain = standard;
    for (unsigned i = 0; i < 256; i++)
        plain.map[i] = (uint8_t)i;
    struct camera_frame f = alarm_frame(EVENT_CAMERA_DSM, 1, 0xAABBCCDD, 1, 2);
    assert_int_equal(camera_alarm(&f, &plain, &a), RC_OK);
    assert_true(a.event.alarm_id == 0xAABBCCDD && a.event.phase == EVENT_CAMERA_BEGIN && a.event.type == 2 && a.event.degree == 7 &&
                a.event.speed_kmh == 55 && a.event.media == 0 && a.files == 0);
    assert_int_equal(a.time_ms, 0);
    f.n = 36;
    memcpy(f.data + 30, "\x01\x02\x00\x01\x02\x03", 6);
    assert_int_equal(camera_alarm(&f, &plain, &a), RC_OK);
    assert_true(a.event.media == 1 && a.files == 1 && a.file[0].type == EVENT_MEDIA_VIDEO && a.file[0].id == 0x010203);
    f.data[30] = 2; /* says two, brings one */
    assert_int_equal(camera_alarm(&f, &plain, &a), RC_INVALID);
    f = alarm_frame(EVENT_CAMERA_ADAS, 1, 1, 2, 1);
    memcpy(f.data + 6, "\x28\x19\x02\x01\x3c\x37\x01\x5b", 8); /* 40 km/h ahead in 2.5 s, to the right, sign: speed 60, at 55 km/h and 347 m */
    memcpy(f.data + 14, "\x01\xdc\x89\xd1\x07\x3d\x8a\xa5\x26\x11\x23\x07\x30\x45\x04\x11", 16);
    assert_int_equal(camera_alarm(&f, &plain, &a), RC_OK);
    assert_true(a.event.phase == EVENT_CAMERA_END && a.event.degree == 0 && a.front_kmh == 40 && a.front_ds == 25 && a.departure == 2 &&
                a.sign == 1 && a.sign_value == 60);
    assert_true(a.event.speed_kmh == 55 && a.alt_m == 347 && a.lat_e6 == 0x01dc89d1 && a.lon_e6 == 0x073d8aa5 && a.status == 0x0411);
    assert_int_equal(a.time_ms, INT64_C(1795390245000));
    f.n = 20;
    assert_int_equal(camera_alarm(&f, &plain, &a), RC_INVALID);
    /* tyres: two wheels, one low and leaking, one well */
    f = alarm_frame(EVENT_CAMERA_TPMS, 1, 9, 0, 0);
    memset(f.data + 5, 0, 19);
    memcpy(f.data + 24, "\x02\x00\x00\x44\x01\x2c\x00\x2d\x00\x5a\x03\x00\x01\x03\x20\xff\xf6\x00\x5a", 19);
    f.n = 43;
    assert_int_equal(camera_alarm(&f, &plain, &a), RC_OK);
    assert_true(a.wheels == 2 && a.event.type == 0x45 && !a.report && a.wheel[0].kpa == 300 && a.wheel[0].c == 45 && a.wheel[1].position == 3 &&
                a.wheel[1].c == -10);
    f.data[24] = 3; /* says three */
    assert_int_equal(camera_alarm(&f, &plain, &a), RC_INVALID);
    f = alarm_frame(EVENT_CAMERA_BSD, 1, 9, 0, 3);
    f.n = 25;
    assert_int_equal(camera_alarm(&f, &plain, &a), RC_OK);
    assert_int_equal(a.event.type, 3);
    /* early firmware: 0 begins, 1 ends, 0x10 is an event; 2 means nothing */
    static struct regmap_camera early;
    char why[256];
    assert_int_equal(regmap_read_camera("camera-early", &early, why, sizeof why), RC_OK);
    static const int phase[] = {EVENT_CAMERA_BEGIN, EVENT_CAMERA_END, -1};
    for (uint8_t flag = 0; flag < 3; flag++) {
        f = alarm_frame(EVENT_CAMERA_DSM, 1, 1, flag, 1);
        enum rc rc = camera_alarm(&f, &early, &a);
        assert_int_equal(rc, phase[flag] < 0 ? RC_INVALID : RC_OK);
        if (rc == RC_OK)
            assert_int_equal(a.event.phase, phase[flag]);
    }
    /* a make with numbers of its own */
    static const char odd[] = "[camera]\nmodel = Odd\ntypes = 0d:02 21:14\nmedia = no\n";
    assert_int_equal(regmap_text_camera(odd, sizeof odd - 1, "odd", &early, why, sizeof why), RC_OK);
    f = alarm_frame(EVENT_CAMERA_DSM, 1, 1, 1, 0x21);
    assert_int_equal(camera_alarm(&f, &early, &a), RC_OK);
    assert_int_equal(a.event.type, 0x14);
    static const char wrong[] = "[camera]\nmodel = Odd\ntypes = 0d=02\n";
    assert_int_equal(regmap_text_camera(wrong, sizeof wrong - 1, "wrong", &early, why, sizeof why), RC_INVALID);
    assert_non_null(strstr(why, "types"));
    static struct regmap_camera first;
    assert_int_equal(regmap_read_camera("camera-early", &first, why, sizeof why), RC_OK);
    struct camera_state s;
    struct camera_frame st = {.function = CAMERA_STATE_REPORT, .peripheral = 0x65, .n = 5, .data = {1, 0, 0, 0, 0}};
    assert_int_equal(camera_state_of(&st, &standard, &s), RC_OK);
    assert_int_equal(s.state, EVENT_DEVICE_OK); /* stand-by here ... */
    assert_int_equal(camera_state_of(&st, &first, &s), RC_OK);
    assert_int_equal(s.state, EVENT_DEVICE_OK); /* ... working there */
    st.data[4] = 1;
    assert_int_equal(camera_state_of(&st, &standard, &s), RC_OK);
    assert_int_equal(s.state, EVENT_DEVICE_FAILED); /* no lens */
}

static void words(void **state)
{
    (void)state;
    assert_string_equal(camera_word_of(EVENT_CAMERA_DSM, 2).zh, "接打电话");
    assert_string_equal(camera_word_of(EVENT_CAMERA_ADAS, 0x13).en, "somebody in the aisle");
    assert_string_equal(camera_word_of(EVENT_CAMERA_TPMS, 0x45).en, "tyre pressure low"); /* low, leaking, report: the gravest */
    assert_string_equal(camera_word_of(EVENT_CAMERA_BSD, 4).zh, "未知报警");
    assert_string_equal(camera_word_of(EVENT_CAMERA_DSM, 7).en, "unknown alarm"); /* a hole in the table */
    assert_string_equal(camera_word_of(0, 1).en, "unknown alarm");
    assert_string_equal(camera_word_unit(EVENT_CAMERA_BSD).zh, "盲区监测");
    assert_string_equal(camera_word_unit(0).en, "camera");
    for (unsigned type = 0; type < 256; type++)
        for (uint8_t unit = EVENT_CAMERA_ADAS; unit <= EVENT_CAMERA_BSD; unit++)
            assert_true(camera_word_of(unit, (uint8_t)type).zh != NULL && camera_word_of(unit, (uint8_t)type).en != NULL);
}

/* --- a peer --- */

struct peer {
    int fd;
    struct camera_parser parser;
    unsigned got[256]; /* frames by function */
    struct camera_frame last[256];
    bool answers;
};

static void peer_send(struct peer *p, const struct camera_frame *f)
{
    uint8_t wire[CAMERA_FRAME_MAX];
    kit_put(p->fd, wire, camera_build(f, wire));
}

static void peer_take(struct peer *p)
{
    uint8_t buf[512];
    ssize_t n;
    while ((n = read(p->fd, buf, sizeof buf)) > 0) {
        for (ssize_t i = 0; i < n; i++) {
            struct camera_frame f;
            enum camera_fault fault;
            if (camera_parse(&p->parser, buf[i], &f, &fault) != RC_OK)
                continue;
            p->got[f.function]++;
            p->last[f.function] = f;
            if (!p->answers)
                continue;
            struct camera_frame a = {.sequence = f.sequence, .vendor = 0x1234, .peripheral = f.peripheral, .function = f.function};
            if (f.function == CAMERA_INFO) {
                static const uint8_t info[] = {2, 'S', 'W', 1, 'A', 1, 'B', 1, 'C', 1, 'D', 1, 'E'};
                memcpy(a.data, info, a.n = sizeof info);
                peer_send(p, &a);
            } else if (f.function == CAMERA_STATE_QUERY) {
                memcpy(a.data, "\x02\0\0\0\0", a.n = 5);
                peer_send(p, &a);
            } else if (f.function == CAMERA_KEEP_ALIVE) {
                peer_send(p, &a);
            }
        }
    }
}

static struct peer *peer_new(int fd, bool answers)
{
    struct peer *p = calloc(1, sizeof *p);
    assert_non_null(p);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    p->fd = fd;
    p->answers = answers;
    return p;
}

static int call(uint16_t port)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof a), 0);
    return fd;
}

static struct peer *peer_of_tick;
static void peer_tick(uv_timer_t *t)
{
    (void)t;
    peer_take(peer_of_tick);
}

static size_t alarms(const struct kit *k)
{
    return kit_count(k, NULL, EVENT_CAMERA, 0);
}

static bool so_many_alarms(struct kit *k, void *arg)
{
    return alarms(k) >= *(size_t *)arg;
}

static void talk(struct kit *k, struct peer *p, struct device *d)
{
    assert_true(kit_wait_health(k, d, EVENT_DEVICE_OK, 6000));
    kit_run_ms(k, 300);
    assert_true(p->got[CAMERA_INFO] >= 1);
    assert_true(p->got[CAMERA_STATE_QUERY] >= 1);

    struct camera_frame a = alarm_frame(EVENT_CAMERA_DSM, 100, 500, 1, 1);
    size_t want = 1;
    peer_send(p, &a);
    assert_true(kit_until(k, so_many_alarms, &want, 3000));
    kit_run_ms(k, 200);
    assert_int_equal(p->got[CAMERA_ALARM], 1);
    assert_int_equal(p->last[CAMERA_ALARM].sequence, 100);
    assert_int_equal(p->last[CAMERA_ALARM].n, 0);
    peer_send(p, &a); /* the answer got lost: the same again, twice */
    peer_send(p, &a);
    kit_run_ms(k, 200);
    assert_int_equal(p->got[CAMERA_ALARM], 3);         /* answered each time */
    assert_int_equal(alarms(k), 1);                    /* told once */
    a = alarm_frame(EVENT_CAMERA_DSM, 101, 500, 2, 1); /* its end */
    peer_send(p, &a);
    /* noise, half a frame, a wrong sum, and a good one behind them */
    uint8_t wire[CAMERA_FRAME_MAX];
    struct camera_frame b = alarm_frame(EVENT_CAMERA_DSM, 102, 501, 0, 0x10);
    size_t n = camera_build(&b, wire);
    kit_put(p->fd, "\x00\xff\x7d garbage", 12);
    kit_put(p->fd, wire, n / 2);
    wire[1] ^= 1;
    kit_put(p->fd, wire, n);
    wire[1] ^= 1;
    kit_put(p->fd, wire, n);
    want = 3;
    assert_true(kit_until(k, so_many_alarms, &want, 3000));
    assert_true(kit_figure(d, "checksum_errors") >= 1);
    /* another unit's frame on the same line is not ours */
    struct camera_frame other = alarm_frame(EVENT_CAMERA_ADAS, 103, 502, 0, 1);
    peer_send(p, &other);
    /* a state report: the lens failed, then works again */
    struct camera_frame st = {
        .sequence = 104, .vendor = 0x1234, .peripheral = 0x65, .function = CAMERA_STATE_REPORT, .n = 5, .data = {4, 0, 0, 0, 1}};
    size_t from = k->n;
    peer_send(p, &st);
    struct kit_want failed = {.d = d, .kind = EVENT_HEALTH, .state = EVENT_DEVICE_FAILED, .from = from};
    assert_true(kit_until(k, kit_seen, &failed, 3000));
    assert_int_equal(k->got[failed.last].e.health.code, 0x04000001);
    memcpy(st.data, "\x02\0\0\0\0", 5);
    st.sequence++;
    peer_send(p, &st);
    struct kit_want well = {.d = d, .kind = EVENT_HEALTH, .state = EVENT_DEVICE_OK, .from = k->n};
    assert_true(kit_until(k, kit_seen, &well, 3000));
    kit_run_ms(k, 100);
    assert_int_equal(p->got[CAMERA_STATE_REPORT], 2);
    assert_int_equal(alarms(k), 3);
    /* the vehicle's speed goes down */
    struct driver_output out = {
        .kind = DRIVER_OUT_VEHICLE,
        .fix = {.lat_e7 = 312304167, .lon_e7 = 1214737000, .speed_mmps = 10000, .alt_dm = EVENT_UNKNOWN, .mode = EVENT_FIX_3D},
        .fix_ms = clock_wall_ms()};
    assert_int_equal(device_output(d, &out), RC_OK);
    kit_run_ms(k, 200);
    assert_int_equal(p->got[CAMERA_VEHICLE], 1);
    assert_int_equal(p->last[CAMERA_VEHICLE].data[0], 36);
    assert_int_equal(p->last[CAMERA_VEHICLE].n, CAMERA_VEHICLE_SIZE);
    /* the camera asks whether we are there */
    struct camera_frame ka = {.sequence = 4000, .vendor = 0x1234, .peripheral = 0x65, .function = CAMERA_KEEP_ALIVE};
    unsigned before = p->got[CAMERA_KEEP_ALIVE];
    p->answers = false;
    peer_send(p, &ka);
    kit_run_ms(k, 200);
    assert_true(p->got[CAMERA_KEEP_ALIVE] >= before + 1);
}

static void with_peer(struct kit *k, struct peer *p, struct device *d)
{
    uv_timer_t t;
    peer_of_tick = p;
    uv_timer_init(&k->loop, &t);
    uv_timer_start(&t, peer_tick, 5, 5);
    talk(k, p, d);
    uv_close((uv_handle_t *)&t, NULL);
    kit_run_ms(k, 10); /* the handle is on this stack */
}

static void peer_on_a_pty(void **state)
{
    (void)state;
    char name[64];
    struct peer *p = peer_new(kit_pty(name), true);
    struct kit *k = kit_new();
    struct device *d = kit_start(k, "camera", "dsm", 3000, "port=%s;unit=0x65;keepalive_s=1", name);
    with_peer(k, p, d);
    /* it falls silent: asked three times for a sign of life, reported, and back when it speaks again */
    assert_true(kit_wait_health(k, d, EVENT_DEVICE_SILENT, 8000));
    struct camera_frame ka = {.sequence = 4001, .vendor = 0x1234, .peripheral = 0x65, .function = CAMERA_KEEP_ALIVE};
    struct kit_want well = {.d = d, .kind = EVENT_HEALTH, .state = EVENT_DEVICE_OK, .from = k->n};
    peer_send(p, &ka);
    assert_true(kit_until(k, kit_seen, &well, 3000));
    /* the cable is pulled */
    close(p->fd);
    assert_true(kit_wait_health(k, d, EVENT_DEVICE_FAILED, 3000));
    kit_free(k);
    free(p);
}

static void peer_on_tcp(void **state)
{
    (void)state;
    struct kit *k = kit_new();
    uint16_t port = kit_free_port();
    struct device *d = kit_start(k, "camera", "dsm", 0, "port=tcp-listen:127.0.0.1:%u;unit=0x65", port);
    kit_run_ms(k, 100);
    struct peer *p = peer_new(call(port), true);
    with_peer(k, p, d);
    /* it reboots and calls again before its old connection is known dead: the newer one counts */
    struct peer *q = peer_new(call(port), false);
    kit_run_ms(k, 100);
    struct camera_frame f = alarm_frame(EVENT_CAMERA_DSM, 1, 900, 0, 1);
    size_t want = 4;
    peer_send(q, &f);
    assert_true(kit_until(k, so_many_alarms, &want, 3000));
    close(p->fd);
    close(q->fd);
    kit_run_ms(k, 100);
    kit_free(k);
    free(p);
    free(q);
}

int main(void)
{
    kit_devices_folder();
    signal(SIGPIPE, SIG_IGN);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sums),
        cmocka_unit_test(words),
        cmocka_unit_test(recorded_file),
        cmocka_unit_test(escapes),
        cmocka_unit_test(finds_its_way_back),
        cmocka_unit_test(times),
        cmocka_unit_test(bodies),
        cmocka_unit_test(peer_on_a_pty),
        cmocka_unit_test(peer_on_tcp),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
