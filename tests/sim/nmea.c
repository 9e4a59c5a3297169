#include "nmea.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define SKY 8 /* satellites of each system in view */

struct sat {
    double elevation_deg, azimuth_deg;
    int prn;
    int snr_db; /* 0 = not tracked */
};

int nmea_sentence(char *out, size_t cap, const char *body)
{
    unsigned char sum = 0;
    for (const char *p = body; *p; p++)
        sum ^= (unsigned char)*p;
    return snprintf(out, cap, "$%s*%02X\r\n", body, sum);
}

/* A made-up sky: spread over all azimuths, crossing it once in some five hours. */
static void sky_at(struct sat sat[SKY], int first_prn, double t_s, bool covered)
{
    static const int prn_step[SKY] = {0, 3, 4, 8, 13, 17, 21, 26};
    for (int i = 0; i < SKY; i++) {
        double phase = t_s / 18000.0 * 2 * M_PI + i * 2 * M_PI / SKY;
        sat[i].prn = first_prn + prn_step[i];
        sat[i].azimuth_deg = fmod(i * 360.0 / SKY + t_s / 120.0, 360.0);
        sat[i].elevation_deg = 42 + 33 * sin(phase);
        sat[i].snr_db = covered ? 0 : (int)lround(24 + sat[i].elevation_deg * 0.25 + 2 * sin(t_s * 0.7 + i));
    }
}

static size_t put(char *out, size_t at, const char *body)
{
    if (at >= NMEA_EPOCH_MAX)
        return at;
    int n = nmea_sentence(out + at, NMEA_EPOCH_MAX - at, body);
    return n > 0 ? at + (size_t)n : at;
}

static void degrees(char *out, size_t cap, double deg, bool longitude)
{
    double a = fabs(deg);
    int whole = (int)a;
    double minutes = (a - whole) * 60;
    if (minutes >= 59.999995) {
        minutes = 0;
        whole++;
    }
    if (longitude)
        snprintf(out, cap, "%03d%08.5f,%c", whole, minutes, deg < 0 ? 'W' : 'E');
    else
        snprintf(out, cap, "%02d%08.5f,%c", whole, minutes, deg < 0 ? 'S' : 'N');
}

static size_t put_gsv(char *out, size_t at, const char *talker, const struct sat sat[SKY])
{
    for (int page = 0; page < SKY / 4; page++) {
        char body[120];
        int n = snprintf(body, sizeof body, "%sGSV,%d,%d,%02d", talker, SKY / 4, page + 1, SKY);
        for (int i = page * 4; i < page * 4 + 4 && n > 0 && (size_t)n < sizeof body; i++) {
            char snr[8] = "";
            if (sat[i].snr_db)
                snprintf(snr, sizeof snr, "%02d", sat[i].snr_db);
            n += snprintf(body + n, sizeof body - (size_t)n, ",%02d,%02d,%03d,%s", sat[i].prn, (int)sat[i].elevation_deg, (int)sat[i].azimuth_deg,
                          snr);
        }
        at = put(out, at, body);
    }
    return at;
}

/* system: id of NMEA 4.11, 1 GPS, 4 BeiDou; without it a reader takes all of them for GPS. */
static size_t put_gsa(char *out, size_t at, int system, const struct sat sat[SKY], bool fix, double hdop)
{
    char body[120];
    int n = snprintf(body, sizeof body, "GNGSA,A,%d", fix ? 3 : 1);
    for (int i = 0; i < 12 && n > 0 && (size_t)n < sizeof body; i++) {
        bool used = fix && i < SKY && sat[i].elevation_deg > 12;
        if (used)
            n += snprintf(body + n, sizeof body - (size_t)n, ",%02d", sat[i].prn);
        else
            n += snprintf(body + n, sizeof body - (size_t)n, ",");
    }
    if (n > 0 && (size_t)n < sizeof body)
        snprintf(body + n, sizeof body - (size_t)n, ",%.1f,%.1f,%.1f,%d", fix ? hdop * 1.7 : 99.9, fix ? hdop : 99.9, fix ? hdop * 1.4 : 99.9,
                 system);
    return put(out, at, body);
}

size_t nmea_epoch(char out[NMEA_EPOCH_MAX], const struct nmea_epoch *e)
{
    time_t s = (time_t)(e->time_ms / 1000);
    struct tm tm;
    gmtime_r(&s, &tm);
    char clock[16], lat[24], lon[24], body[160];
    snprintf(clock, sizeof clock, "%02d%02d%02d.%02d", tm.tm_hour, tm.tm_min, tm.tm_sec, (int)(e->time_ms % 1000 / 10));
    struct sat gps[SKY], bds[SKY];
    sky_at(gps, 2, (double)s, !e->fix);
    sky_at(bds, 6, (double)s + 700, !e->fix);
    int used = 0;
    for (int i = 0; i < SKY; i++)
        used += (gps[i].elevation_deg > 12) + (bds[i].elevation_deg > 12);
    double hdop = 0.7 + 0.2 * (1 + sin((double)s / 97.0)) / 2;
    size_t at = 0;
    if (e->fix) {
        degrees(lat, sizeof lat, e->at.lat, false);
        degrees(lon, sizeof lon, e->at.lon, true);
        snprintf(body, sizeof body, "GNRMC,%s,A,%s,%s,%.3f,%.2f,%02d%02d%02d,,,A", clock, lat, lon, e->speed_mps * 3600 / 1852, e->course_deg,
                 tm.tm_mday, tm.tm_mon + 1, tm.tm_year % 100);
        at = put(out, at, body);
        snprintf(body, sizeof body, "GNGGA,%s,%s,%s,1,%02d,%.1f,%.1f,M,-36.0,M,,", clock, lat, lon, used > 12 ? 12 : used, hdop, e->alt_m);
        at = put(out, at, body);
    } else {
        snprintf(body, sizeof body, "GNRMC,%s,V,,,,,,,%02d%02d%02d,,,N", clock, tm.tm_mday, tm.tm_mon + 1, tm.tm_year % 100);
        at = put(out, at, body);
        snprintf(body, sizeof body, "GNGGA,%s,,,,,0,00,99.9,,M,,M,,", clock);
        at = put(out, at, body);
    }
    at = put_gsa(out, at, 1, gps, e->fix, hdop);
    at = put_gsa(out, at, 4, bds, e->fix, hdop);
    at = put_gsv(out, at, "GP", gps);
    at = put_gsv(out, at, "GB", bds);
    return at < NMEA_EPOCH_MAX ? at : NMEA_EPOCH_MAX - 1;
}
