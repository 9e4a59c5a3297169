/*
 * gpsd - positions, the state of the sky and of the aerial from gpsd. libgps makes the connection, the reports are read by gpsd_line.h, which says why. One
 * fix per receiver time: gpsd reports a second several times while its sentences come in, the most complete report of each is passed on. Reports
 * without a fix are events as well, at most one per second. Says nothing of silence: device.c does.
 */
#include <errno.h>
#include <gps.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "../driver.h"
#include "../port.h"
#include "../tap.h"
#include "fixpick.h"
#include "gpsd_line.h"
#include "skywatch.h"

#define HOST_MAX   63
#define DEVICE_MAX 127
#define LINE_CAP   20480 /* as libgps' own buffer; gpsd's longest object has some 10,000 */

enum { TRUST_RECEIVER = 0, TRUST_REPAIR = 1 };

struct gpsd_options {
    char host[HOST_MAX + 1];
    uint32_t port;
    char device[DEVICE_MAX + 1];
    int trust_time;
    uint32_t settle_ms, patience_ms, drop_ms, drop_db, drop_pct;
    int antenna;
};

static const char *const antenna_words[] = {"no", "nmea", NULL};
static const char *const trust_words[] = {"receiver", "repair", NULL};

static const struct field gpsd_fields[] = {
    {"host", FIELD_TEXT, FIELD_AT(struct gpsd_options, host), "", 1, HOST_MAX, NULL, "127.0.0.1", "numeric address of gpsd: looking up a name would block"},
    {"port", FIELD_UINT, FIELD_AT(struct gpsd_options, port), "", 1, 65535, NULL, "2947", "its TCP port"},
    {"device", FIELD_TEXT, FIELD_AT(struct gpsd_options, device), "", 0, DEVICE_MAX, NULL, "", "only reports of this receiver, e.g. /dev/gps0; empty: all"},
    {"trust_time", FIELD_WORD, FIELD_AT(struct gpsd_options, trust_time), "", 0, 1, trust_words, "repair", "repair: undo a wrong 1024-week epoch; receiver: take its time as it is"},
    {"settle_ms", FIELD_UINT, FIELD_AT(struct gpsd_options, settle_ms), "ms", 20, 900, NULL, "250", "a complete report waits so long for another one of the same time"},
    {"patience_ms", FIELD_UINT, FIELD_AT(struct gpsd_options, patience_ms), "ms", 20, 5000, NULL, "900", "an incomplete one (no speed or track) so long"},
    {"antenna", FIELD_WORD, FIELD_AT(struct gpsd_options, antenna), "", 0, 1, antenna_words, "no",
     "nmea: read what the receiver's TXT sentences say of its antenna; costs a wake-up for each sentence"},
    {"drop_ms", FIELD_UINT, FIELD_AT(struct gpsd_options, drop_ms), "ms", 1000, 60000, NULL, "5000", "signals of all satellites that fall within this time ..."},
    {"drop_db", FIELD_UINT, FIELD_AT(struct gpsd_options, drop_db), "dB", 3, 40, NULL, "10", "... by so much ..."},
    {"drop_pct", FIELD_UINT, FIELD_AT(struct gpsd_options, drop_pct), "%", 10, 100, NULL, "50", "... or this part of their dB-Hz are a sign of jamming"},
};

struct gpsd {
    struct driver_ctx *ctx;
    const struct gpsd_options *opt;
    struct gps_data_t g;
    bool connected;
    struct fixpick pick;
    struct fixpick_setup setup;
    double hdop; /* of the newest sky view, NAN unknown */
    int satellites;
    int64_t sky_mono_ms;
    struct skywatch sky;
    int periods; /* of 1024 weeks that its date is off, as told */
    char tap_line[HOST_MAX + 16];
    size_t got;     /* of line: what came of it so far */
    bool too_long;  /* throw away up to the next line */
    char line[LINE_CAP + 1];
};

#define SKY_MAX_MS 10000 /* an older sky view says nothing about this fix */
#define READ_MAX   100   /* times the socket is read in one go */

static int32_t scaled(double v, double by, double min, double max)
{
    if (!isfinite(v) || v * by < min || v * by > max)
        return EVENT_UNKNOWN;
    return (int32_t)lround(v * by);
}

static struct event_fix fix_of(const struct gpsd *s, const struct gpsd_tpv *f, int64_t mono_ms)
{
    struct event_fix e = {
        .lat_e7 = scaled(f->lat_deg, 1e7, -9e8, 9e8),
        .lon_e7 = scaled(f->lon_deg, 1e7, -1.8e9, 1.8e9),
        .speed_mmps = scaled(f->speed_mps, 1000, 0, 1e6),
        .track_cdeg = scaled(f->track_deg, 100, 0, 36000),
        .alt_dm = scaled(f->alt_m, 10, -1e4, 1e6),
        .hdop_d = EVENT_UNKNOWN,
        .mode = (uint8_t)f->mode,
    };
    if (e.track_cdeg == 36000)
        e.track_cdeg = 0;
    if (e.lat_e7 == EVENT_UNKNOWN || e.lon_e7 == EVENT_UNKNOWN || e.mode < EVENT_FIX_2D) {
        e.lat_e7 = e.lon_e7 = EVENT_UNKNOWN;
        if (e.mode >= EVENT_FIX_2D)
            e.mode = EVENT_FIX_NONE; /* a fix without a position is none */
    }
    if (s->sky_mono_ms != 0 && mono_ms - s->sky_mono_ms <= SKY_MAX_MS) {
        e.hdop_d = scaled(s->hdop, 10, 0, 999);
        e.satellites = (uint8_t)(s->satellites > 63 ? 63 : s->satellites < 0 ? 0 : s->satellites);
    }
    return e;
}

static void tell(struct gpsd *s, enum event_gnss_fault fault, bool over, int32_t value)
{
    struct event e = {.kind = EVENT_GNSS, .gnss = {.value = value, .fault = (uint8_t)fault, .over = over}};
    driver_emit(s->ctx, &e);
}

static bool device_is(const struct gpsd *s, const char *device, size_t n)
{
    return s->opt->device[0] == '\0' || (device != NULL && strlen(s->opt->device) == n && memcmp(device, s->opt->device, n) == 0);
}

static bool see_sky(struct gpsd *s, const char *line, size_t len)
{
    const struct skywatch_setup o = {.window_ms = s->opt->drop_ms, .drop_db = s->opt->drop_db, .drop_pct = s->opt->drop_pct};
    struct gpsd_sky sky;
    int db = 0;
    if (!gpsd_line_sky(line, len, &sky)) {
        driver_count(s->ctx, "bad_lines", 1);
        return false;
    }
    if (!device_is(s, sky.device, sky.device_n))
        return false;
    s->hdop = sky.hdop;
    s->sky_mono_ms = driver_mono_ms(s->ctx);
    if (!sky.satellites) /* of this second only the figures: the list of the one before still holds */
        return true;
    s->satellites = sky.used;
    int news = skywatch_see(&s->sky, &o, sky.sat, sky.n, s->sky_mono_ms, &db);
    if (news != 0)
        tell(s, EVENT_GNSS_JAMMED, news < 0, news < 0 ? EVENT_UNKNOWN : db);
    return true;
}

static void note_week(struct gpsd *s, int64_t given_ms, int64_t used_ms)
{
    int periods = (int)((used_ms - given_ms) / FIXPICK_WEEKS_MS);
    if (periods == s->periods)
        return;
    s->periods = periods;
    tell(s, EVENT_GNSS_WEEK, periods == 0, periods == 0 ? EVENT_UNKNOWN : periods);
}

static void take_report(struct gpsd *s, const struct gpsd_tpv *tpv)
{
    int64_t mono_ms = driver_mono_ms(s->ctx);
    struct fixpick_report r = {.time_ms = tpv->time_ms, .fix = fix_of(s, tpv, mono_ms)};
    int64_t wall_ms = driver_clock_ms(s->ctx);
    if (r.time_ms != 0 && r.fix.mode >= EVENT_FIX_2D)
        note_week(s, r.time_ms, fixpick_time(r.time_ms, wall_ms, s->setup.repair));
    struct event e;
    if (fixpick_take(&s->pick, &s->setup, &r, wall_ms, mono_ms, &e) > 0)
        driver_emit(s->ctx, &e);
}

/*
 * gpsd cuts off objects that are longer than its buffer. A whole object closes every brace it opens.
 */
static bool is_whole(const char *line)
{
    int open = 0;
    bool text = false;
    for (const char *c = line; *c != '\0'; c++) {
        if (*c == '\\' && text && c[1] != '\0')
            c++;
        else if (*c == '"')
            text = !text;
        else if (!text && *c == '{')
            open++;
        else if (!text && *c == '}')
            open--;
    }
    return open == 0 && !text;
}

static bool is_printable(const char *line, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (line[i] < 0x20 || line[i] > 0x7e) /* gpsd writes ASCII and escapes the rest; a NUL would hide what follows it */
            return false;
    return true;
}

/*
 * The objects gpsd_json(5) knows beside TPV and SKY. They tell us nothing, so libgps never sees them: libgps_json_unpack() of 3.22 runs for ever on
 * some lines that are no whole object of gpsd.
 */
static bool is_of_others(const char *line)
{
    static const char *const known[] = {"VERSION", "DEVICES", "DEVICE", "WATCH", "ERROR",    "POLL", "GST",   "ATT",  "IMU",
                                        "TOFF",    "PPS",     "OSC",    "RAW",   "SUBFRAME", "AIS",  "RTCM2", "RTCM3"};
    static const char head[] = "{\"class\":\"";
    if (strncmp(line, head, sizeof head - 1) != 0)
        return false;
    line += sizeof head - 1;
    size_t n = strcspn(line, "\"");
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strlen(known[i]) == n && memcmp(known[i], line, n) == 0)
            return true;
    return false;
}

/* One report, and what gpsd put behind it on the same line. */
static bool take_positions(struct gpsd *s, const char *line, const char *end)
{
    bool understood = false;
    struct gpsd_tpv tpv;
    while (gpsd_line_is_tpv(line) && gpsd_line_tpv(line, (size_t)(end - line), &tpv, &line))
        if (device_is(s, tpv.device, tpv.device_n)) {
            take_report(s, &tpv);
            understood = true;
        }
    if (line != end)
        driver_count(s->ctx, "bad_lines", 1);
    return understood;
}

/* One line, ended by NUL. */
static bool take_line(struct gpsd *s, const char *line, size_t n)
{
    tap_put(s->tap_line, TAP_TEXT, 0, 0, line, n);
    if (line[0] == '$') {
        int antenna = skywatch_antenna(line);
        if (antenna != 0)
            tell(s, EVENT_GNSS_ANTENNA, antenna < 0, EVENT_UNKNOWN);
        return false;
    }
    if (is_printable(line, n) && gpsd_line_is_sky(line))
        return see_sky(s, line, n);
    if (is_printable(line, n) && gpsd_line_is_tpv(line))
        return take_positions(s, line, line + n);
    if (!is_printable(line, n) || !is_whole(line) || !is_of_others(line))
        driver_count(s->ctx, "bad_lines", 1);
    return false;
}

/* The whole lines of what has come; the rest waits for its end. */
static bool take_lines(struct gpsd *s)
{
    bool understood = false;
    char *from = s->line, *end = s->line + s->got;
    for (char *stop; (stop = memchr(from, '\n', (size_t)(end - from))) != NULL; from = stop + 1) {
        size_t n = (size_t)(stop - from);
        if (n > 0 && from[n - 1] == '\r')
            n--;
        from[n] = '\0';
        if (s->too_long)
            driver_count(s->ctx, "bad_lines", 1);
        else if (n > 0)
            understood |= take_line(s, from, n);
        s->too_long = false;
    }
    s->got = (size_t)(end - from);
    memmove(s->line, from, s->got);
    if (s->got == LINE_CAP) {
        s->too_long = true;
        s->got = 0;
    }
    return understood;
}

static enum rc gpsd_input(void *state, char *why, size_t cap)
{
    struct gpsd *s = state;
    bool understood = false;
    for (int i = 0; i < READ_MAX; i++) {
        ssize_t n = recv(s->g.gps_fd, s->line + s->got, LINE_CAP - s->got, MSG_DONTWAIT);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            break;
        if (n <= 0) {
            snprintf(why, cap, "gpsd closed the connection: is it being restarted?");
            return RC_END;
        }
        s->got += (size_t)n;
        understood |= take_lines(s);
    }
    return understood ? RC_OK : RC_AGAIN;
}

static enum rc gpsd_poll(void *state, int64_t now_ms, int *ret_next_ms, char *why, size_t cap)
{
    struct gpsd *s = state;
    struct event e;
    int64_t next_ms = -1;
    (void)why;
    (void)cap;
    if (fixpick_due(&s->pick, &s->setup, now_ms, false, &e, &next_ms) > 0)
        driver_emit(s->ctx, &e);
    *ret_next_ms = next_ms < 0 || next_ms > 100 ? 100 : (int)next_ms;
    return RC_AGAIN;
}

static void gpsd_close(void *state)
{
    struct gpsd *s = state;
    struct event e;
    int64_t next_ms;
    if (s == NULL)
        return;
    if (s->connected) {
        if (fixpick_due(&s->pick, &s->setup, 0, true, &e, &next_ms) > 0)
            driver_emit(s->ctx, &e);
        gps_close(&s->g); /* no WATCH_DISABLE before: it would write to a socket that may be dead */
    }
    free(s);
}

/* libgps connects blocking, for minutes if need be; on the loop only an address that answers may be given to it. */
static enum rc probe(const struct gpsd_options *o, char *why, size_t cap)
{
    struct port_setup ps = {.baud = 9600, .data_bits = 8, .stop_bits = 1};
    struct port *p = NULL;
    snprintf(ps.path, sizeof ps.path, strchr(o->host, ':') != NULL ? "tcp:[%s]:%u" : "tcp:%s:%u", o->host, o->port);
    enum rc rc = port_open(&ps, &p, why, cap);
    if (rc == RC_INVALID) {
        snprintf(why, cap, "host \"%s\" makes no sense: give gpsd's numeric address, usually 127.0.0.1", o->host);
        return rc;
    }
    if (rc == RC_OK)
        rc = port_ready(p, 1000);
    port_close(p);
    if (rc != RC_OK)
        snprintf(why, cap, "no gpsd at %s port %u: is it running? (systemctl status gpsd)", o->host, o->port);
    return rc == RC_OK ? RC_OK : RC_IO;
}

static enum rc gpsd_open(struct driver_ctx *ctx, const void *options, void **ret_state, int *ret_fd, char *why, size_t cap)
{
    const struct gpsd_options *o = options;
    enum rc rc = probe(o, why, cap);
    if (rc != RC_OK)
        return rc;
    struct gpsd *s = calloc(1, sizeof *s);
    if (s == NULL)
        return RC_NO_MEMORY;
    s->ctx = ctx;
    s->opt = o;
    tap_gpsd_line(o->host, o->port, s->tap_line, sizeof s->tap_line);
    s->hdop = (double)NAN;
    s->setup = (struct fixpick_setup){.repair = o->trust_time == TRUST_REPAIR, .settle_ms = o->settle_ms, .patience_ms = o->patience_ms};
    char port[8];
    snprintf(port, sizeof port, "%u", o->port);
    int e = gps_open(strcmp(o->host, "localhost") == 0 ? "127.0.0.1" : o->host, port, &s->g);
    if (e != 0) {
        snprintf(why, cap, "no gpsd at %s port %u (%s): is it running? (systemctl status gpsd)", o->host, o->port, gps_errstr(e));
        free(s);
        return RC_IO;
    }
    s->connected = true;
    if (gps_stream(&s->g, WATCH_ENABLE | WATCH_JSON | (o->antenna != 0 ? WATCH_NMEA : 0), NULL) != 0) {
        snprintf(why, cap, "gpsd at %s port %u does not take the WATCH command: is it gpsd 3.x?", o->host, o->port);
        gpsd_close(s);
        return RC_IO;
    }
    *ret_state = s;
    *ret_fd = s->g.gps_fd;
    return RC_OK;
}

const struct driver driver_gpsd = {
    .name = "gpsd",
    .kind = EVENT_DEVICE_GNSS,
    .options_size = sizeof(struct gpsd_options),
    .options = gpsd_fields,
    .options_n = sizeof gpsd_fields / sizeof *gpsd_fields,
    .silence_ms = 5000,
    .open = gpsd_open,
    .input = gpsd_input,
    .poll = gpsd_poll,
    .close = gpsd_close,
};
