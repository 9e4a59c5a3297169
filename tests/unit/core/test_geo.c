/* geo: against the great circle, against brute force, and on routes that pass one street twice. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/geo.h"

static double uniform(double lo, double hi)
{
    return lo + (hi - lo) * drand48();
}

static void near_matches_great_circle(void **state)
{
    (void)state;
    double worst = 0;
    for (int i = 0; i < 20000; i++) {
        struct geo_pt a = {uniform(-60, 60), uniform(-179, 179)};
        struct geo_pt b = geo_ahead(a, uniform(0, 360), uniform(1, 20000));
        double d = geo_distance_m(a, b), e = fabs(geo_near_m(a, b) - d) / d;
        worst = e > worst ? e : worst;
    }
    print_message("worst relative error below 20 km: %.6f\n", worst);
    assert_true(worst < 0.001);
}

static void known_distance(void **state)
{
    (void)state;
    /* one degree of a great circle on the mean sphere, and half of it */
    assert_true(fabs(geo_distance_m((struct geo_pt){0, 0}, (struct geo_pt){1, 0}) - 111195.08) < 0.1);
    assert_true(fabs(geo_distance_m((struct geo_pt){0, 0}, (struct geo_pt){0, 180}) - 20015115.0) < 10);
    assert_true(fabs(geo_course_deg((struct geo_pt){0, 0}, (struct geo_pt){0, 1}) - 90) < 1e-9);
    struct geo_pt p = geo_ahead((struct geo_pt){30, 120}, 45, 5000);
    assert_true(fabs(geo_distance_m((struct geo_pt){30, 120}, p) - 5000) < 1e-3);
}

static struct geo_pt *wander(size_t n, double step_m)
{
    struct geo_pt *pt = malloc(n * sizeof *pt);
    double course = uniform(0, 360);
    pt[0] = (struct geo_pt){uniform(20, 50), uniform(75, 130)};
    for (size_t i = 1; i < n; i++) {
        course += uniform(-40, 40);
        pt[i] = geo_ahead(pt[i - 1], course, uniform(1, step_m));
    }
    return pt;
}

static void match_equals_brute_force(void **state)
{
    (void)state;
    for (int turn = 0; turn < 60; turn++) {
        size_t n = turn % 5 == 0 ? 2 : 2 + (size_t)(drand48() * 800);
        struct geo_pt *pt = wander(n, turn % 3 == 0 ? 400 : 40);
        struct geo_line *l = NULL;
        assert_int_equal(geo_line_new(pt, n, &l), RC_OK);
        for (int k = 0; k < 300; k++) {
            struct geo_pt p = geo_ahead(pt[(size_t)(drand48() * (double)n)], uniform(0, 360), k % 10 == 0 ? uniform(0, 15000) : uniform(0, 150));
            double brute = geo_offset_m(pt, n, p);
            struct geo_match m = geo_line_match(l, p, (double)NAN, 50000);
            /* the line's flat frame is exact to the cosine of latitude over its extent */
            assert_true(fabs(m.offset_m - brute) < 0.05 + 0.004 * brute);
            assert_true(m.along_m >= 0 && m.along_m <= geo_line_length_m(l) + 1e-6);
            assert_true(geo_near_m(geo_line_at(l, m.along_m), p) < brute + 0.1 + 0.01 * brute);
        }
        assert_true(isinf(geo_line_match(l, geo_ahead(pt[0], 0, 90000), (double)NAN, 1000).offset_m));
        assert_true(isinf(geo_line_match(l, (struct geo_pt){NAN, 0}, (double)NAN, 1000).offset_m));
        geo_line_free(l);
        free(pt);
    }
}

/* Out along a street and back on its other side: the hint decides which pass is meant. */
static void hint_tells_passes_apart(void **state)
{
    (void)state;
    struct geo_pt pt[41];
    for (int i = 0; i <= 20; i++)
        pt[i] = geo_ahead((struct geo_pt){51, 71}, 90, i * 50);
    for (int i = 0; i < 20; i++)
        pt[21 + i] = geo_ahead(geo_ahead((struct geo_pt){51, 71}, 90, 950 - i * 50), 0, 8);
    struct geo_line *l = NULL;
    assert_int_equal(geo_line_new(pt, 41, &l), RC_OK);
    struct geo_pt p = geo_ahead(geo_ahead((struct geo_pt){51, 71}, 90, 300), 0, 4);
    double out = geo_line_match(l, p, 280, 100).along_m, back = geo_line_match(l, p, 1650, 100).along_m;
    print_message("out %.1f back %.1f\n", out, back);
    assert_true(fabs(out - 300) < 5);
    assert_true(back > 1600 && back < 1760);
    geo_line_free(l);
}

static void refuses_nonsense(void **state)
{
    (void)state;
    struct geo_line *l = NULL;
    struct geo_pt one[2] = {{10, 10}, {10, 10}}, bad[2] = {{10, 10}, {NAN, 10}};
    assert_int_equal(geo_line_new(one, 1, &l), RC_INVALID);
    assert_int_equal(geo_line_new(one, 2, &l), RC_INVALID);
    assert_int_equal(geo_line_new(bad, 2, &l), RC_INVALID);
    assert_null(l);
    geo_line_free(NULL);
}

static void polygons(void **state)
{
    (void)state;
    const struct geo_pt l_shape[] = {{0, 0}, {0, 2}, {1, 2}, {1, 1}, {2, 1}, {2, 0}};
    assert_true(geo_inside(l_shape, 6, (struct geo_pt){0.5, 1.5}));
    assert_true(geo_inside(l_shape, 6, (struct geo_pt){1.5, 0.5}));
    assert_false(geo_inside(l_shape, 6, (struct geo_pt){1.5, 1.5}));
    assert_false(geo_inside(l_shape, 6, (struct geo_pt){-0.1, 0.5}));
}

int main(void)
{
    srand48(7);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(near_matches_great_circle), cmocka_unit_test(known_distance), cmocka_unit_test(match_equals_brute_force),
        cmocka_unit_test(hint_tells_passes_apart),   cmocka_unit_test(refuses_nonsense), cmocka_unit_test(polygons),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
