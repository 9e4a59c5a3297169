#include "skywatch.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#define STRONGEST 4

/* Mean C/N0 of the strongest ones, 0 where there are fewer. */
static int strength(const struct skywatch_sat *sat, size_t n)
{
    int best[STRONGEST] = {0}, sum = 0;
    for (size_t i = 0; i < n; i++) {
        int v = sat[i].dbhz;
        for (int k = 0; k < STRONGEST; k++)
            if (v > best[k]) {
                int was = best[k];
                best[k] = v;
                v = was;
            }
    }
    for (int k = 0; k < STRONGEST; k++)
        sum += best[k];
    return sum / STRONGEST;
}

static int dbhz_of(const struct skywatch_sat *sat, size_t n, int16_t id)
{
    for (size_t i = 0; i < n; i++)
        if (sat[i].id == id)
            return sat[i].dbhz;
    return 0;
}

/* Did all that were strong in `was` fall? */
static bool fell(const struct skywatch_setup *o, const struct skywatch_view *was, const struct skywatch_sat *sat, size_t n, int *ret_db)
{
    int strong = 0, fallen = 0, sum = 0;
    for (size_t i = 0; i < was->n; i++) {
        int before = was->sat[i].dbhz;
        if (before < SKYWATCH_DBHZ)
            continue;
        int by = before - dbhz_of(sat, n, was->sat[i].id);
        strong++;
        fallen += by >= (int)o->drop_db || by * 100 >= before * (int)o->drop_pct;
        sum += by > 0 ? by : 0;
    }
    if (strong < SKYWATCH_MIN || fallen * 10 < strong * 9)
        return false;
    *ret_db = sum / strong;
    return true;
}

int skywatch_see(struct skywatch *s, const struct skywatch_setup *o, const struct skywatch_sat *sat, size_t n, int64_t mono_ms, int *ret_db)
{
    int news = 0;
    if (n > SKYWATCH_SATS)
        n = SKYWATCH_SATS;
    if (s->fallen) {
        if (strength(sat, n) * 2 >= s->strong_dbhz + (s->strong_dbhz > (int)o->drop_db ? s->strong_dbhz - (int)o->drop_db : 0)) {
            s->fallen = false;
            memset(s->view, 0, sizeof s->view);
            news = -1;
        }
    } else {
        for (size_t i = 0; i < SKYWATCH_VIEWS && news == 0; i++) {
            const struct skywatch_view *was = &s->view[i];
            if (was->n > 0 && mono_ms - was->mono_ms <= o->window_ms && fell(o, was, sat, n, ret_db)) {
                s->fallen = true;
                s->strong_dbhz = strength(was->sat, was->n);
                news = 1;
            }
        }
    }
    struct skywatch_view *v = &s->view[s->next++ % SKYWATCH_VIEWS];
    v->mono_ms = mono_ms;
    v->n = n;
    memcpy(v->sat, sat, n * sizeof *sat);
    return news;
}

static bool checksum_right(const char *line)
{
    unsigned char sum = 0;
    const char *c = line + 1;
    for (; *c != '\0' && *c != '*'; c++)
        sum ^= (unsigned char)*c;
    if (*c != '*' || !isxdigit((unsigned char)c[1]) || !isxdigit((unsigned char)c[2]))
        return false;
    char hex[3] = {c[1], c[2], '\0'};
    return strtoul(hex, NULL, 16) == sum;
}

int skywatch_antenna(const char *line)
{
    static const struct {
        const char *word;
        int says;
    } words[] = {{"OPEN", 1}, {"SHORT", 1}, {"OK", -1}};
    if (strlen(line) < 8 || line[0] != '$' || strncmp(line + 3, "TXT,", 4) != 0 || !checksum_right(line))
        return 0;
    const char *at = strstr(line, "ANTSTATUS=");
    size_t skip = 10;
    if (at == NULL) {
        at = strstr(line, "ANTENNA ");
        skip = 8;
    }
    for (size_t i = 0; at != NULL && i < sizeof words / sizeof *words; i++)
        if (strncmp(at + skip, words[i].word, strlen(words[i].word)) == 0)
            return words[i].says;
    return 0;
}
