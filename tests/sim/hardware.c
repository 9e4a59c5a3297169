/*
 * hardware - schoolward-sim bus: the devices of one bus on ptys and sockets, all telling of one and the same ride.
 *
 *   DIR/gnss     NMEA once a second (a real gpsd reads it)
 *   DIR/counter  Modbus RTU slave, unit 1, map of firmware-config/devices/generic-counter.conf
 *   DIR/inputs   Modbus RTU slave, unit 2, map of full-inputs.conf (or TCP with --inputs-tcp)
 *   DIR/cards    reader of EM4100 cards, where the scenario gives the bus cards
 *   DIR/camera   T/JSATL 12 peripheral (or a TCP client with --camera-tcp)
 *   DIR/outputs.log  what the gateway switched, DIR/truth.csv what was really so
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <math.h>
#include <netinet/in.h>
#include <arpa/inet.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "../../core/event.h"
#include "badge.h"
#include "camera.h"
#include "line.h"
#include "nmea.h"
#include "planner.h"
#include "ride.h"
#include "sim.h"
#include "slave.h"

#define TICK_MS         50
#define COUNTER_UNIT    1
#define INPUTS_UNIT     2
#define SPREAD_M        1.2  /* of a position, each way */
#define SPREAD_S        30.0 /* how long an error lasts */
#define COUNTER_LATE_MS 900  /* beyond any gateway's patience */
#define HEIGHT_M        347.0
#define PULSES_PER_M    8.0   /* of the gearbox: 8000 a kilometre, as full-inputs.conf has it */
#define CARD_MS         250   /* between two cards at the reader */

struct hardware {
    const char *dir;
    char path_gnss[512], path_counter[512], path_inputs[512], path_camera[512];
    struct ride ride;
    int gnss, gnss_far;
    struct slave *counter, *inputs;
    int inputs_port; /* > 0: TCP */
    struct camera camera;
    int camera_fd, camera_far;
    struct sockaddr_in camera_at; /* sin_port != 0: TCP client */
    int64_t camera_next_ms;       /* not before: connect again */
    bool camera_alarming, counter_plugged;
    int cards, cards_far, carded; /* carded: pupils whose card was read when they got in */
    int64_t card_next_ms;
    unsigned card_due; /* bits: driver, attendant, stranger */
    bool stranger_shown;
    /* after the run: what the people do with ignition, buttons and the door */
    bool ended;
    double ended_s, pulses;
    int32_t staff_out, staff_in;
    uint8_t camera_type;
    /* The passengers of the start get in when the gateway has begun to count: a counter that is switched on starts at zero. */
    int prelude; /* 2 waiting for the first poll, 1 boarding, 0 under way */
    int32_t shown_boarded;
    int64_t prelude_ms, wait_until_ms;
    struct planner_random noise;
    double east_m, north_m;
    FILE *outputs, *truth;
};

static volatile sig_atomic_t stop_asked;

static void on_signal(int n)
{
    (void)n;
    stop_asked = 1;
}

static int64_t wall_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void clock_text_of(int64_t ms, char out[32])
{
    time_t s = (time_t)(ms / 1000);
    struct tm tm;
    gmtime_r(&s, &tm);
    size_t n = strftime(out, 24, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(out + n, 32 - n, ".%03dZ", (int)(ms % 1000));
}

static void on_coil(void *arg, const char *name, int address, bool on)
{
    static const char *const word[] = {"buzzer", "lamp", "siren"};
    struct hardware *h = arg;
    char t[32];
    clock_text_of(wall_ms(), t);
    if (address < 3)
        fprintf(h->outputs, "%s %s %s\n", t, word[address], on ? "on" : "off");
    else
        fprintf(h->outputs, "%s %s coil %d %s\n", t, name, address, on ? "on" : "off");
    fflush(h->outputs);
}

/* --- GNSS --- */

/* Receiver noise that wanders: a first-order Gauss-Markov error per axis. */
static double wander(struct planner_random *rnd, double e, double dt_s)
{
    double white = 0;
    for (int i = 0; i < 12; i++)
        white += planner_uniform(rnd, -0.5, 0.5);
    return e * exp(-dt_s / SPREAD_S) + SPREAD_M * sqrt(1 - exp(-2 * dt_s / SPREAD_S)) * white;
}

static void gnss_say(struct hardware *h, int64_t epoch_ms)
{
    h->east_m = wander(&h->noise, h->east_m, 1);
    h->north_m = wander(&h->noise, h->north_m, 1);
    if (ride_happening(&h->ride, SCENARIO_GNSS_SILENT))
        return;
    struct nmea_epoch e = {.time_ms = epoch_ms, .fix = !ride_happening(&h->ride, SCENARIO_NO_FIX), .alt_m = HEIGHT_M};
    e.at = geo_ahead(geo_ahead(h->ride.at, 90, h->east_m), 0, h->north_m);
    e.speed_mps = fmax(0, h->ride.v_mps + (h->ride.v_mps > 0.5 ? planner_uniform(&h->noise, -0.08, 0.08) : 0));
    e.course_deg = h->ride.course_deg;
    char text[NMEA_EPOCH_MAX];
    size_t n = nmea_epoch(text, &e);
    /* A receiver does not keep what nobody read. */
    int unread = 0;
    if (!ioctl(h->gnss_far, FIONREAD, &unread) && unread > 0)
        tcflush(h->gnss_far, TCIFLUSH);
    if (write(h->gnss, text, n) < 0 && errno != EAGAIN)
        fprintf(stderr, "gnss: %s\n", strerror(errno));
    char drain[256];
    while (read(h->gnss, drain, sizeof drain) > 0) {
    }
}

/* --- counter and inputs --- */

static bool layover(const struct ride *r)
{
    return r->phase != RIDE_DRIVE && r->next_stop + 1 >= r->path->stops && r->to_alight == 0 && r->phase == RIDE_CLOSE;
}

/*
 * At the school the driver switches off, the attendant walks to the rear button, confirms the head-count and gets off; before the next lap everything is
 * reversed. A child that is still there moves, and the attendant finds nobody until it is found.
 */
static void after_run(struct hardware *h, double dt_s)
{
    const struct ride *r = &h->ride;
    bool over = r->phase == RIDE_DRIVE || (layover(r) && r->left_s <= 0 && h->ended && r->wait_s < 4);
    if (h->ended && over) {
        h->ended = false;
        if (h->staff_out > h->staff_in)
            h->staff_in = h->staff_out;
        h->card_due |= 1u << BADGE_DRIVER | 1u << BADGE_ATTENDANT;
    } else if (!h->ended && layover(r)) {
        h->ended = true;
        h->ended_s = 0;
    }
    if (!h->ended)
        return;
    h->ended_s += dt_s;
    if (r->pupils == 0 && h->ended_s > 14 && h->staff_out == h->staff_in)
        h->staff_out += r->bus->staff_counted;
}

static uint32_t inputs_now(const struct hardware *h)
{
    const struct ride *r = &h->ride;
    uint32_t in = r->inputs | EVENT_IN_DRIVER_SEAT;
    if (h->prelude)
        in |= EVENT_IN_DOOR_FRONT | EVENT_IN_STOP_ARM | EVENT_IN_BEACON | EVENT_IN_HAZARD | EVENT_IN_PARKING_BRAKE;
    if (ride_happening(r, SCENARIO_DOOR_OPEN) && r->phase == RIDE_DRIVE)
        in |= EVENT_IN_DOOR_FRONT;
    if (ride_happening(r, SCENARIO_BELTS_OPEN))
        in |= EVENT_IN_BELTS;
    if (ride_happening(r, SCENARIO_POWER_LOST))
        in |= EVENT_IN_POWER_LOST;
    if (!h->ended)
        return in;
    in &= ~(uint32_t)(EVENT_IN_IGNITION | EVENT_IN_BEACON);
    if (h->ended_s > 4)
        in &= ~(uint32_t)EVENT_IN_DRIVER_SEAT;
    if (r->pupils > 0 && fmod(h->ended_s, 20) < 6) /* a sleeping child does not move all the time */
        in |= EVENT_IN_MOTION;
    if (r->pupils == 0 && h->ended_s > 8 && h->ended_s < 9)
        in |= EVENT_IN_PATROL;
    if (r->pupils == 0 && h->ended_s > 11 && h->ended_s < 12)
        in |= EVENT_IN_CONFIRM;
    if (r->pupils == 0 && h->ended_s > 13 && h->ended_s < 15.5)
        in |= EVENT_IN_DOOR_FRONT;
    return in;
}

static void devices_show(struct hardware *h)
{
    uint32_t boarded = (uint32_t)(h->prelude ? h->shown_boarded : h->ride.boarded + h->staff_in), alighted = (uint32_t)(h->ride.alighted + h->staff_out);
    const uint16_t reg[8] = {(uint16_t)(boarded >> 16), (uint16_t)boarded, (uint16_t)(alighted >> 16), (uint16_t)alighted};
    slave_set_registers(h->counter, 0, reg, 8);
    uint32_t inputs = inputs_now(h), pulses = (uint32_t)(uint64_t)h->pulses;
    for (int bit = 0; bit < EVENT_INPUTS_N; bit++)
        slave_set_input(h->inputs, bit, inputs >> bit & 1);
    const uint16_t analog[4] = {215, (uint16_t)((inputs & EVENT_IN_IGNITION) != 0 ? 27600 : 25100), (uint16_t)(pulses >> 16), (uint16_t)pulses};
    slave_set_registers(h->inputs, 0, analog, 4); /* 21.5 degrees; the alternator shows in the supply's millivolts */
    bool plugged = !ride_happening(&h->ride, SCENARIO_COUNTER_UNPLUGGED);
    if (plugged != h->counter_plugged) {
        h->counter_plugged = plugged;
        slave_plug(h->counter, plugged);
    }
    slave_answer_late(h->counter, ride_happening(&h->ride, SCENARIO_COUNTER_STALE) ? COUNTER_LATE_MS : 0);
}

static void prelude(struct hardware *h, int64_t now_ms)
{
    if (h->prelude == 2 && (slave_requests(h->counter) > 1 || now_ms >= h->wait_until_ms)) {
        h->prelude = 1;
        h->prelude_ms = now_ms + 500;
    }
    if (h->prelude != 1 || now_ms < h->prelude_ms)
        return;
    if (h->shown_boarded < h->ride.boarded) {
        h->shown_boarded++;
        h->prelude_ms = now_ms + 450; /* about two a second: what a door lets through */
    } else {
        h->prelude = 0;
    }
}

/* --- cards --- */

static void card_say(struct hardware *h, unsigned which, int64_t now_ms)
{
    char frame[BADGE_FRAME], drain[64];
    size_t n = badge_frame(h->ride.bus->cards + which, frame);
    if (write(h->cards, frame, n) < 0 && errno != EAGAIN)
        fprintf(stderr, "cards: %s\n", strerror(errno));
    while (read(h->cards, drain, sizeof drain) > 0) {
    }
    h->card_next_ms = now_ms + CARD_MS;
}

static void cards_pass(struct hardware *h, int64_t now_ms)
{
    if (h->cards < 0 || h->prelude == 2 || now_ms < h->card_next_ms)
        return;
    bool stranger = ride_happening(&h->ride, SCENARIO_UNKNOWN_CARD) != NULL;
    int pupils = h->prelude ? h->shown_boarded - h->ride.bus->staff_counted : h->ride.pupils;
    pupils = pupils < 0 ? 0 : pupils > BADGE_PUPILS ? BADGE_PUPILS : pupils;
    if ((h->card_due & 1u << BADGE_DRIVER) != 0) {
        h->card_due &= ~(1u << BADGE_DRIVER);
        card_say(h, BADGE_DRIVER, now_ms);
    } else if ((h->card_due & 1u << BADGE_ATTENDANT) != 0) {
        h->card_due &= ~(1u << BADGE_ATTENDANT);
        card_say(h, BADGE_ATTENDANT, now_ms);
    } else if (stranger && !h->stranger_shown) {
        card_say(h, BADGE_STRANGER, now_ms);
    } else if (h->carded < pupils) {
        card_say(h, BADGE_PUPIL + (unsigned)h->carded++, now_ms);
    } else if (h->carded > pupils) {
        card_say(h, BADGE_PUPIL + (unsigned)--h->carded, now_ms);
    }
    h->stranger_shown = stranger;
}

/* --- camera --- */

static void camera_send(void *arg, const void *buf, size_t n)
{
    struct hardware *h = arg;
    if (h->camera_fd >= 0 && write(h->camera_fd, buf, n) < 0 && errno != EAGAIN && h->camera_at.sin_port) {
        close(h->camera_fd);
        h->camera_fd = -1;
    }
}

static void camera_connect(struct hardware *h, int64_t now_ms)
{
    if (!h->camera_at.sin_port || h->camera_fd >= 0 || now_ms < h->camera_next_ms)
        return;
    h->camera_next_ms = now_ms + 1000;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&h->camera_at, sizeof h->camera_at)) {
        close(fd);
        fd = -1;
    }
    if (fd < 0)
        return;
    fcntl(fd, F_SETFL, O_NONBLOCK);
    h->camera_fd = fd;
    camera_init(&h->camera, camera_send, h);
    camera_state(&h->camera, 2, 0, now_ms);
}

static void camera_pass(struct hardware *h, int64_t now_ms)
{
    camera_connect(h, now_ms);
    if (h->camera_fd < 0)
        return;
    uint8_t buf[512];
    ssize_t n;
    while ((n = read(h->camera_fd, buf, sizeof buf)) > 0)
        camera_input(&h->camera, buf, (size_t)n, now_ms);
    if (n == 0 && h->camera_at.sin_port) {
        close(h->camera_fd);
        h->camera_fd = -1;
        return;
    }
    camera_tick(&h->camera, now_ms);
    const struct scenario_happening *alarm = ride_happening(&h->ride, SCENARIO_CAMERA_ALARM);
    if ((alarm != NULL) != h->camera_alarming) {
        h->camera_alarming = alarm != NULL;
        if (alarm)
            h->camera_type = (uint8_t)alarm->value;
        camera_alarm(&h->camera, h->camera_type, alarm ? 1 : 2, alarm && h->camera_type == 1 ? 6 : 0, (int32_t)lround(h->ride.at.lat * 1e6),
                     (int32_t)lround(h->ride.at.lon * 1e6), now_ms);
    }
    if (ride_happening(&h->ride, SCENARIO_CAMERA_GARBAGE)) {
        for (size_t i = 0; i < 24; i++)
            buf[i] = (uint8_t)planner_uniform(&h->noise, 0, 256);
        camera_send(h, buf, 24);
    }
}

/* --- all together --- */

static FILE *file_in(const char *dir, const char *name)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *f = fopen(path, "we");
    if (!f)
        fprintf(stderr, "bus: %s: %s\n", path, strerror(errno));
    return f;
}

static int start(struct hardware *h)
{
    char why[300] = "";
    snprintf(h->path_gnss, sizeof h->path_gnss, "%s/gnss", h->dir);
    snprintf(h->path_counter, sizeof h->path_counter, "%s/counter", h->dir);
    snprintf(h->path_inputs, sizeof h->path_inputs, "%s/inputs", h->dir);
    snprintf(h->path_camera, sizeof h->path_camera, "%s/camera", h->dir);
    h->outputs = file_in(h->dir, "outputs.log");
    h->truth = file_in(h->dir, "truth.csv");
    if (!h->outputs || !h->truth)
        return 73;
    fputs("time_ms,lat,lon,speed_mps,course_deg,boarded,alighted,inputs,lap,along_m\n", h->truth);
    struct slave_setup counter = {.name = "counter", .link = h->path_counter, .unit = COUNTER_UNIT};
    struct slave_setup inputs = {
        .name = "inputs", .link = h->inputs_port ? NULL : h->path_inputs, .port = h->inputs_port, .unit = INPUTS_UNIT, .on_coil = on_coil, .arg = h};
    if (line_open(h->path_gnss, &h->gnss, &h->gnss_far, why, sizeof why) != RC_OK || slave_start(&counter, &h->counter, why, sizeof why) != RC_OK ||
        slave_start(&inputs, &h->inputs, why, sizeof why) != RC_OK ||
        (!h->camera_at.sin_port && line_open(h->path_camera, &h->camera_fd, &h->camera_far, why, sizeof why) != RC_OK)) {
        fprintf(stderr, "bus: %s\n", why);
        return 73;
    }
    char path[520];
    snprintf(path, sizeof path, "%s/cards", h->dir);
    if (h->ride.bus->cards != 0 && line_open(path, &h->cards, &h->cards_far, why, sizeof why) != RC_OK) {
        fprintf(stderr, "bus: %s\n", why);
        return 73;
    }
    h->card_due = 1u << BADGE_DRIVER | 1u << BADGE_ATTENDANT;
    camera_init(&h->camera, camera_send, h);
    h->counter_plugged = true;
    return 0;
}

static void finish(struct hardware *h)
{
    slave_stop(h->counter);
    slave_stop(h->inputs);
    line_close(h->path_gnss, &h->gnss, &h->gnss_far);
    if (h->cards >= 0) {
        char path[520];
        snprintf(path, sizeof path, "%s/cards", h->dir);
        line_close(path, &h->cards, &h->cards_far);
    }
    if (h->camera_at.sin_port) {
        if (h->camera_fd >= 0)
            close(h->camera_fd);
    } else {
        line_close(h->path_camera, &h->camera_fd, &h->camera_far);
    }
    if (h->outputs)
        fclose(h->outputs);
    if (h->truth)
        fclose(h->truth);
}

static void drive(struct hardware *h, double seconds)
{
    int64_t began = wall_ms(), last = began, epoch = began / 1000;
    h->wait_until_ms = began + 30000;
    while (!stop_asked && (seconds <= 0 || (double)(last - began) < seconds * 1000)) {
        usleep(TICK_MS * 1000);
        int64_t now = wall_ms();
        double dt_s = (double)(now - last) / 1000;
        last = now;
        if (h->prelude)
            prelude(h, now);
        else if (dt_s > 0) {
            ride_step(&h->ride, fmin(dt_s, 1));
            after_run(h, fmin(dt_s, 1));
            h->pulses += h->ride.v_mps * fmin(dt_s, 1) * PULSES_PER_M;
        }
        devices_show(h);
        cards_pass(h, now);
        camera_pass(h, now);
        if (now / 1000 > epoch) {
            epoch = now / 1000;
            gnss_say(h, epoch * 1000);
            fprintf(h->truth, "%lld,%.7f,%.7f,%.2f,%.1f,%d,%d,%u,%u,%.1f\n", (long long)(epoch * 1000), h->ride.at.lat, h->ride.at.lon, h->ride.v_mps,
                    h->ride.course_deg, h->prelude ? h->shown_boarded : h->ride.boarded + h->staff_in, h->ride.alighted + h->staff_out, inputs_now(h), h->ride.lap,
                    h->ride.along_m);
            fflush(h->truth);
        }
    }
}

static int usage(void)
{
    fputs("usage: schoolward-sim bus --scenario FILE --dir DIR [--inputs-tcp PORT] [--camera-tcp ADDRESS:PORT] [--seconds N] [--no-wait]\n"
          "  --no-wait  do not let the first passengers wait for the gateway's first look at the counter\n",
          stderr);
    return 64;
}

static bool address_of(const char *text, struct sockaddr_in *ret_at)
{
    char host[64];
    int port;
    if (sscanf(text, "%63[^:]:%d", host, &port) != 2 || port < 1 || port > 65535)
        return false;
    ret_at->sin_family = AF_INET;
    ret_at->sin_port = htons((uint16_t)port);
    return inet_pton(AF_INET, host, &ret_at->sin_addr) == 1;
}

int sim_bus(int argc, char **argv)
{
    static const struct option options[] = {
        {"scenario", 1, 0, 's'}, {"dir", 1, 0, 'd'}, {"inputs-tcp", 1, 0, 'i'}, {"camera-tcp", 1, 0, 'c'}, {"seconds", 1, 0, 'n'},
        {"no-wait", 0, 0, 'w'},  {0, 0, 0, 0}};
    static struct hardware h; /* one per process: threads point into it */
    const char *file = NULL;
    double seconds = 0;
    h.prelude = 2;
    h.gnss = h.gnss_far = h.camera_fd = h.camera_far = h.cards = h.cards_far = -1;
    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        switch (c) {
        case 's': file = optarg; break;
        case 'd': h.dir = optarg; break;
        case 'i': h.inputs_port = (int)strtol(optarg, NULL, 10); break;
        case 'c':
            if (!address_of(optarg, &h.camera_at))
                return usage();
            break;
        case 'n': seconds = strtod(optarg, NULL); break;
        case 'w': h.prelude = 0; break;
        default: return usage();
        }
    }
    if (!file || !h.dir)
        return usage();
    char why[300] = "";
    struct scenario *scenario = NULL;
    if (scenario_read(file, &scenario, why, sizeof why) != RC_OK || scenario->buses != 1) {
        fprintf(stderr, "bus: %s\n", *why ? why : "the scenario must have one bus");
        return 65;
    }
    if (mkdir(h.dir, 0755) && errno != EEXIST) {
        fprintf(stderr, "bus: %s: %s\n", h.dir, strerror(errno));
        return 73;
    }
    struct sigaction act = {.sa_handler = on_signal};
    sigaction(SIGINT, &act, NULL);
    sigaction(SIGTERM, &act, NULL);
    h.noise.state = 88172645463325252ULL ^ (uint64_t)wall_ms() << 8;
    ride_begin(&h.ride, &scenario->bus[0]);
    int status = start(&h);
    if (!status) {
        printf("%s: ready in %s\n", scenario->bus[0].id, h.dir);
        fflush(stdout);
        drive(&h, seconds);
    }
    finish(&h);
    scenario_free(scenario);
    return status;
}
