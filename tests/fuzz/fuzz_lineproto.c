/*
 * Line protocol, both ways. Half 1: the input says what to write; whatever end() accepts must read back as the same point. Half 2: the input is a line;
 * whatever parse() accepts and the stricter writer takes must come out as the same point again.
 */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/lineproto.h"

#define MUST(x)                                                 \
    do {                                                        \
        if (!(x)) {                                             \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #x); \
            abort();                                            \
        }                                                       \
    } while (0)

struct input {
    const uint8_t *p, *end;
};

static uint8_t byte(struct input *in)
{
    return in->p < in->end ? *in->p++ : 0;
}

static const char *text(struct input *in, char room[64])
{
    size_t n = byte(in) % 64, i = 0;
    while (i < n && in->p < in->end)
        room[i++] = (char)*in->p++;
    room[i] = '\0';
    return room;
}

static int64_t number(struct input *in)
{
    uint64_t v = 0;
    for (int i = 0; i < 8; i++)
        v = v << 8 | byte(in);
    int64_t out;
    memcpy(&out, &v, sizeof out);
    return out;
}

static double real(struct input *in)
{
    int64_t bits = number(in);
    double v;
    memcpy(&v, &bits, sizeof v);
    return v;
}

static bool same_real(double a, double b)
{
    return memcmp(&a, &b, sizeof a) == 0;
}

static void write_and_read(struct input *in)
{
    static char keys[8][64], values[8][64], texts[8][64], name[64];
    struct lineproto_point want, got;
    memset(&want, 0, sizeof want);
    char out[2048], arena[2048];
    struct lineproto w;
    lineproto_init(&w, out, sizeof out - byte(in) * 8u);
    want.name = text(in, name);
    lineproto_begin(&w, want.name);
    size_t tags = byte(in) % 5, fields = byte(in) % 8;
    for (size_t i = 0; i < tags; i++)
        lineproto_tag(&w, text(in, keys[i]), text(in, values[i]));
    char field_keys[8][64];
    for (size_t i = 0; i < fields; i++) {
        struct lineproto_field *f = &want.field[want.fields];
        f->key = text(in, field_keys[i]);
        switch (byte(in) % 5) {
        case 0:
            f->kind = LINEPROTO_REAL;
            f->real = real(in);
            lineproto_real(&w, f->key, f->real);
            if (!isfinite(f->real))
                continue;
            break;
        case 1:
            f->kind = LINEPROTO_INT;
            f->integer = number(in);
            lineproto_int(&w, f->key, f->integer);
            break;
        case 2:
            f->kind = LINEPROTO_BOOL;
            f->boolean = byte(in) & 1;
            lineproto_bool(&w, f->key, f->boolean);
            break;
        case 3:
            f->kind = LINEPROTO_TEXT;
            f->text = text(in, texts[i]);
            lineproto_text(&w, f->key, f->text);
            break;
        default:
            f->kind = LINEPROTO_REAL;
            f->real = (double)NAN; /* compared by the unit test; here only that it reads back as a number */
            lineproto_fixed(&w, f->key, number(in), byte(in) % 10);
        }
        want.fields++;
    }
    int64_t time = number(in);
    if (lineproto_end(&w, time) != RC_OK) {
        MUST(w.n == 0 && w.lines == 0);
        return;
    }
    MUST(w.n > 0 && out[w.n - 1] == '\n' && memchr(out, '\n', w.n) == out + w.n - 1);
    MUST(lineproto_parse(out, w.n - 1, arena, &got) == RC_OK);
    MUST(strcmp(got.name, want.name) == 0 && got.timed && got.time == time && got.fields == want.fields && got.tags <= tags);
    for (size_t i = 0; i + 1 < got.tags; i++)
        MUST(strcmp(got.tag[i].key, got.tag[i + 1].key) < 0);
    for (size_t i = 0; i < got.tags; i++) {
        bool found = false;
        for (size_t k = 0; k < tags; k++)
            found = found || (strcmp(keys[k], got.tag[i].key) == 0 && strcmp(values[k], got.tag[i].value) == 0);
        MUST(found);
    }
    for (size_t i = 0; i < got.fields; i++) {
        const struct lineproto_field *a = &want.field[i], *b = &got.field[i];
        MUST(a->kind == b->kind && strcmp(a->key, b->key) == 0);
        MUST(a->kind != LINEPROTO_REAL || isnan(a->real) || same_real(a->real, b->real));
        MUST(a->kind != LINEPROTO_INT || a->integer == b->integer);
        MUST(a->kind != LINEPROTO_BOOL || a->boolean == b->boolean);
        MUST(a->kind != LINEPROTO_TEXT || strcmp(a->text, b->text) == 0);
    }
}

static void read_and_write(const uint8_t *data, size_t n)
{
    char *arena = malloc(n + 1), *out = malloc(8 * n + 64), *again = malloc(8 * n + 64);
    struct lineproto_point p, q;
    if (arena != NULL && out != NULL && again != NULL && lineproto_parse((const char *)data, n, arena, &p) == RC_OK) {
        struct lineproto w;
        lineproto_init(&w, out, 8 * n + 64);
        lineproto_begin(&w, p.name);
        for (size_t i = 0; i < p.tags; i++)
            lineproto_tag(&w, p.tag[i].key, p.tag[i].value);
        bool writable = true;
        for (size_t i = 0; i < p.fields; i++)
            switch (p.field[i].kind) {
            case LINEPROTO_REAL: lineproto_real(&w, p.field[i].key, p.field[i].real); break;
            case LINEPROTO_INT: lineproto_int(&w, p.field[i].key, p.field[i].integer); break;
            case LINEPROTO_BOOL: lineproto_bool(&w, p.field[i].key, p.field[i].boolean); break;
            case LINEPROTO_TEXT: lineproto_text(&w, p.field[i].key, p.field[i].text); break;
            case LINEPROTO_UINT: writable = false; break; /* influxd 1.x refuses the suffix: we never write it */
            }
        if (lineproto_end(&w, p.time) == RC_OK && writable) {
            MUST(lineproto_parse(out, w.n - 1, again, &q) == RC_OK);
            MUST(strcmp(p.name, q.name) == 0 && p.tags == q.tags && p.fields == q.fields && q.time == p.time);
            for (size_t i = 0; i < p.fields; i++)
                MUST(p.field[i].kind != LINEPROTO_REAL || same_real(p.field[i].real, q.field[i].real));
        }
    }
    free(arena);
    free(out);
    free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = {data, data + size};
    if (size > 0 && size < 4096) {
        write_and_read(&in);
        read_and_write(data, size);
    }
    return 0;
}
