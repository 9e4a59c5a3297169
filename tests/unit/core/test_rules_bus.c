/* The rules of the bus's own inputs in simulated time: each fires, does not fire just below, and knows its exceptions. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/wire.h"
#include "ride.h"

/* A bus on its run with an attendant and n pupils, driving. */
static struct ride *under_way(int pupils)
{
    struct ride *r = ride_new(RIDE_VEHICLE);
    ride_inputs(r);
    ride_card(r, RIDE_STAFF_CARD, EVENT_CARD_TAP);
    ride_stop(r, pupils + 1, 0);
    ride_drive(r, 30, 20);
    return r;
}

/* Its end: stopped, engine off, everybody but `left` gets off with the attendant, door shut. */
static void arrive(struct ride *r, int pupils, int left)
{
    ride_wait(r, 5);
    ride_set(r, EVENT_IN_IGNITION, false);
    ride_stop(r, 0, pupils - left + 1);
}

static void test_door_while_driving(void **state)
{
    (void)state;
    const struct rules_finding *f;
    struct ride *r = under_way(20);
    ride_drive(r, 4.9, 5);
    ride_set(r, EVENT_IN_DOOR_FRONT, true);
    ride_drive(r, 4.9, 30); /* creeping */
    assert_false(ride_open(r, LAW_STP_2));
    ride_drive(r, 8, 1); /* one fix */
    ride_drive(r, 0, 5);
    assert_false(ride_open(r, LAW_STP_2));
    ride_drive(r, 8, 2);
    assert_false(ride_open(r, LAW_STP_2));
    ride_drive(r, 8, 1);
    assert_int_equal(ride_last(r, LAW_STP_2, &f), RULES_OPENED);
    assert_int_equal(f->severity, LAW_CRITICAL);
    assert_int_equal(f->to, LAW_TO_CAB | LAW_TO_DIS | LAW_TO_SCH | LAW_TO_OFF);
    assert_true(fabs(f->value - 8) < 0.01 && fabs(f->limit - 5) < 0.01);
    ride_drive(r, 0, 10); /* standing does not mend it */
    assert_true(ride_open(r, LAW_STP_2));
    ride_set(r, EVENT_IN_DOOR_FRONT, false);
    ride_wait(r, 3);
    assert_int_equal(ride_last(r, LAW_STP_2, NULL), RULES_CLOSED);
    ride_free(r);
    r = under_way(0); /* empty: less grave; fast: within a second */
    ride_set(r, EVENT_IN_DOOR_FRONT, true);
    ride_drive(r, 25, 2);
    assert_int_equal(ride_last(r, LAW_STP_2, &f), RULES_OPENED);
    assert_int_equal(f->severity, LAW_HIGH);
    ride_free(r);
}

static void test_attendant(void **state)
{
    (void)state;
    struct ride *r = ride_new(RIDE_VEHICLE);
    ride_inputs(r);
    ride_card(r, 1, EVENT_CARD_TAP); /* the reader reads, and no attendant came */
    ride_set(r, EVENT_IN_DOOR_FRONT, true);
    ride_doors(r, 20, 0);
    ride_wait(r, 2);
    assert_true(ride_warned(r, LAW_ATT_1)); /* do not depart */
    ride_wait(r, 120);
    assert_int_equal(ride_last(r, LAW_ATT_1, NULL), 0); /* waiting for the attendant is no breach */
    ride_card(r, RIDE_STAFF_CARD, EVENT_CARD_TAP);
    ride_wait(r, 1);
    assert_false(ride_warned(r, LAW_ATT_1));
    ride_set(r, EVENT_IN_DOOR_FRONT, false);
    ride_drive(r, 30, 100);
    assert_int_equal(ride_last(r, LAW_ATT_1, NULL), 0);
    ride_card(r, RIDE_STAFF_CARD, EVENT_CARD_OFF); /* gone */
    ride_drive(r, 30, 59);
    assert_int_equal(ride_last(r, LAW_ATT_1, NULL), 0);
    ride_drive(r, 30, 2);
    assert_true(ride_open(r, LAW_ATT_1));
    ride_own_count(r, 22); /* a replacement counts the pupils: there is somebody */
    ride_wait(r, 1);
    assert_int_equal(ride_last(r, LAW_ATT_1, NULL), RULES_CLOSED);
    ride_free(r);
    r = ride_new(RIDE_VEHICLE); /* a reader that read nothing yet, or says that it cannot read: not known */
    ride_inputs(r);
    ride_stop(r, 20, 0);
    ride_drive(r, 30, 120);
    assert_int_equal(ride_last(r, LAW_ATT_1, NULL), 0);
    ride_card(r, 1, EVENT_CARD_TAP);
    ride_event(r, &(struct event){.time_ms = r->s->now_ms,
                                  .kind = EVENT_HEALTH,
                                  .health = {.name = "cards", .device = EVENT_DEVICE_CARDS, .state = EVENT_DEVICE_SILENT}});
    ride_drive(r, 30, 120);
    assert_int_equal(ride_last(r, LAW_ATT_1, NULL), 0);
    ride_free(r);
}

static void test_belts(void **state)
{
    (void)state;
    struct ride *r = under_way(20);
    ride_set(r, EVENT_IN_BELTS, true);
    ride_drive(r, 30, 19);
    ride_drive(r, 4, 2); /* below the speed: begins anew */
    ride_drive(r, 30, 20);
    assert_int_equal(ride_last(r, LAW_ATT_4, NULL), 0);
    ride_drive(r, 30, 1);
    assert_true(ride_open(r, LAW_ATT_4));
    ride_set(r, EVENT_IN_BELTS, false);
    ride_drive(r, 30, 12);
    assert_int_equal(ride_last(r, LAW_ATT_4, NULL), RULES_CLOSED);
    ride_free(r);
    r = under_way(20);
    r->fitted &= ~(uint32_t)EVENT_IN_BELTS; /* no sensors */
    ride_set(r, EVENT_IN_BELTS, true);
    ride_drive(r, 30, 60);
    assert_int_equal(ride_last(r, LAW_ATT_4, NULL), 0);
    ride_free(r);
}

static void test_front_seat(void **state)
{
    (void)state;
    struct ride *r = under_way(20);
    ride_set(r, EVENT_IN_FRONT_SEAT, true);
    ride_drive(r, 30, 29);
    assert_int_equal(ride_last(r, LAW_OVL_4, NULL), 0);
    ride_drive(r, 30, 2);
    assert_true(ride_open(r, LAW_OVL_4));
    ride_set(r, EVENT_IN_FRONT_SEAT, false);
    ride_drive(r, 30, 12);
    assert_int_equal(ride_last(r, LAW_OVL_4, NULL), RULES_CLOSED);
    ride_free(r);
    r = ride_new(RIDE_VEHICLE ",\"front_seat_staff\":true"); /* the attendant's own seat */
    ride_set(r, EVENT_IN_FRONT_SEAT, true);
    ride_stop(r, 21, 0);
    ride_drive(r, 30, 90);
    assert_int_equal(ride_last(r, LAW_OVL_4, NULL), 0);
    ride_free(r);
}

static void test_driver_seat(void **state)
{
    (void)state;
    const struct rules_finding *f;
    struct ride *r = under_way(20);
    ride_wait(r, 20);
    ride_set(r, EVENT_IN_DRIVER_SEAT, false);
    ride_wait(r, 9);
    ride_set(r, EVENT_IN_DRIVER_SEAT, true);
    ride_wait(r, 1);
    assert_int_equal(ride_last(r, LAW_DRV_1, NULL), 0);
    ride_set(r, EVENT_IN_DRIVER_SEAT, false);
    ride_wait(r, 11);
    assert_int_equal(ride_last(r, LAW_DRV_1, &f), RULES_OPENED);
    assert_int_equal(f->severity, LAW_HIGH);
    ride_drive(r, 10, 5); /* it rolls */
    assert_int_equal(ride_last(r, LAW_DRV_1, &f), RULES_RAISED);
    assert_int_equal(f->severity, LAW_CRITICAL);
    ride_free(r);
    r = under_way(20);
    ride_wait(r, 20);
    ride_set(r, EVENT_IN_IGNITION, false); /* the engine is off: then he may */
    ride_set(r, EVENT_IN_DRIVER_SEAT, false);
    ride_wait(r, 30);
    assert_int_equal(ride_last(r, LAW_DRV_1, NULL), 0);
    ride_free(r);
}

static void heat(struct ride *r, int32_t milli)
{
    ride_event(r, &(struct event){.time_ms = r->s->now_ms, .kind = EVENT_READING, .reading = {.what = EVENT_READING_CABIN_C, .value = milli}});
}

static void test_fire(void **state)
{
    (void)state;
    const struct rules_finding *f;
    struct ride *r = under_way(20);
    ride_set(r, EVENT_IN_SMOKE, true);
    ride_drive(r, 30, 4);
    assert_int_equal(ride_last(r, LAW_FIR_1, NULL), 0);
    ride_drive(r, 30, 2);
    assert_int_equal(ride_last(r, LAW_FIR_1, &f), RULES_OPENED);
    assert_int_equal(f->severity, LAW_CRITICAL);
    ride_set(r, EVENT_IN_SMOKE, false);
    ride_drive(r, 30, 12);
    assert_int_equal(ride_last(r, LAW_FIR_1, NULL), RULES_CLOSED);
    size_t n = r->s->n;
    heat(r, 45000); /* hot, but the engine is on */
    ride_drive(r, 0, 90);
    ride_set(r, EVENT_IN_IGNITION, false);
    heat(r, 40000); /* the limit itself */
    ride_wait(r, 55);
    heat(r, 41000);
    ride_wait(r, 59);
    for (size_t i = n; i < r->s->n; i++)
        assert_int_not_equal(r->s->found[i].rule, LAW_FIR_1);
    ride_wait(r, 2);
    assert_true(ride_open(r, LAW_FIR_1));
    ride_free(r);
}

static void test_tamper(void **state)
{
    (void)state;
    const struct rules_finding *f;
    struct ride *r = under_way(0);
    ride_set(r, EVENT_IN_POWER_LOST, true);
    ride_drive(r, 30, 4);
    assert_int_equal(ride_last(r, LAW_DEV_2, NULL), 0);
    ride_drive(r, 30, 2);
    assert_true(ride_open(r, LAW_DEV_2));
    ride_last(r, LAW_DEV_2, &f);
    assert_int_equal(f->severity, LAW_CRITICAL); /* it drives */
    assert_int_equal(f->to & LAW_TO_CAB, 0);
    ride_free(r);
    r = ride_new(RIDE_VEHICLE); /* parked with its battery switched off: as it should be */
    ride_set(r, EVENT_IN_IGNITION, false);
    ride_set(r, EVENT_IN_POWER_LOST, true);
    ride_wait(r, 60);
    assert_int_equal(ride_last(r, LAW_DEV_2, NULL), 0);
    ride_set(r, EVENT_IN_TAMPER, true);
    ride_wait(r, 6);
    assert_int_equal(ride_last(r, LAW_DEV_2, &f), RULES_OPENED);
    assert_int_equal(f->severity, LAW_HIGH);
    ride_free(r);
}

static void test_beacon(void **state)
{
    (void)state;
    struct ride *r = under_way(20);
    ride_set(r, EVENT_IN_BEACON, false);
    ride_drive(r, 30, 59);
    assert_int_equal(ride_last(r, LAW_LMP_1, NULL), 0);
    ride_drive(r, 30, 2);
    assert_true(ride_open(r, LAW_LMP_1));
    ride_free(r);
    r = ride_new(RIDE_VEHICLE); /* empty with the beacon lit: three minutes of grace */
    ride_inputs(r);
    ride_doors(r, 1, 0);
    ride_drive(r, 30, 179);
    assert_int_equal(ride_last(r, LAW_LMP_1, NULL), 0);
    ride_drive(r, 30, 4);
    assert_true(ride_open(r, LAW_LMP_1));
    ride_free(r);
}

/* ---- after the run ---- */

static void test_left_behind(void **state)
{
    (void)state;
    const struct rules_finding *f;
    struct ride *r = under_way(20);
    arrive(r, 20, 3); /* three still aboard by the doors: with the attendant gone they may not be taken for staff */
    assert_true(ride_warned(r, LAW_LFT_1));
    assert_int_equal(ride_last(r, LAW_LFT_1, NULL), 0);
    ride_wait(r, 58);
    assert_int_equal(ride_last(r, LAW_LFT_1, NULL), 0);
    ride_wait(r, 3);
    assert_int_equal(ride_last(r, LAW_LFT_1, &f), RULES_OPENED);
    assert_int_equal(f->to, LAW_TO_CAB);
    uint64_t id = f->id;
    ride_wait(r, 60);
    assert_int_equal(ride_last(r, LAW_LFT_1, &f), RULES_RAISED);
    assert_int_equal(f->to, LAW_TO_CAB | LAW_TO_DIS | LAW_TO_SCH);
    ride_wait(r, 60);
    assert_int_equal(ride_last(r, LAW_LFT_1, &f), RULES_RAISED);
    assert_int_equal(f->to, LAW_TO_CAB | LAW_TO_DIS | LAW_TO_SCH | LAW_TO_OFF | LAW_TO_POL | LAW_TO_PAR);
    assert_true(f->id == id);
    /* neither button alone, nor the wrong order, nor a confirmation while three are counted */
    ride_press(r, EVENT_IN_CONFIRM);
    ride_press(r, EVENT_IN_PATROL);
    ride_wait(r, 5);
    assert_true(ride_open(r, LAW_LFT_1));
    ride_press(r, EVENT_IN_CONFIRM);
    ride_wait(r, 5);
    assert_true(ride_open(r, LAW_LFT_1));
    ride_stop(r, 0, 3); /* they are found and get off */
    ride_wait(r, 1);
    assert_int_equal(ride_last(r, LAW_LFT_1, NULL), RULES_CLOSED);
    const struct event *e = ride_sent(r, 0, EVENT_ACTION);
    assert_true(e != NULL && e->action.what == EVENT_ACTION_ZEROED);
    assert_int_equal(r->s->bus.run, BUS_RUN_IDLE);
    ride_free(r);
}

static void test_getting_off(void **state)
{
    (void)state;
    struct ride *r = under_way(20);
    ride_wait(r, 5);
    ride_set(r, EVENT_IN_IGNITION, false);
    ride_set(r, EVENT_IN_DOOR_FRONT, true);
    ride_wait(r, 240); /* they take their time, the attendant is there, the door is open */
    assert_false(ride_warned(r, LAW_LFT_1));
    ride_doors(r, 0, 21);
    ride_set(r, EVENT_IN_DOOR_FRONT, false);
    ride_wait(r, 170);
    assert_int_equal(ride_last(r, LAW_LFT_1, NULL), 0);
    ride_free(r);
    r = under_way(20); /* nobody opens: five minutes are not waited for */
    ride_wait(r, 5);
    ride_set(r, EVENT_IN_IGNITION, false);
    ride_wait(r, 61);
    assert_true(ride_open(r, LAW_LFT_1));
    ride_drive(r, 0, 5);
    ride_set(r, EVENT_IN_IGNITION, true); /* it was a pause: drives on with them */
    ride_drive(r, 30, 5);
    assert_int_equal(ride_last(r, LAW_LFT_1, NULL), RULES_CLOSED);
    ride_free(r);
    r = under_way(20); /* the last one leaves and shuts: the siren does not wait */
    arrive(r, 20, 2);
    ride_wait(r, 5);
    assert_int_equal(ride_last(r, LAW_LFT_1, NULL), 0);
    ride_set(r, EVENT_IN_DOOR_FRONT, true);
    ride_wait(r, 1);
    assert_true(ride_open(r, LAW_LFT_1));
    ride_free(r);
}

static void test_motion(void **state)
{
    (void)state;
    struct ride *r = under_way(20);
    arrive(r, 20, 0);
    ride_wait(r, 20);
    ride_press(r, EVENT_IN_MOTION); /* within 30 s of the door: who left moved the air */
    ride_wait(r, 15);
    assert_int_equal(r->s->bus.motion_ms, 0);
    ride_press(r, EVENT_IN_MOTION);
    ride_wait(r, 61);
    assert_true(ride_open(r, LAW_LFT_1));
    ride_press(r, EVENT_IN_PATROL); /* the button alone never clears a motion hit */
    ride_wait(r, 120);
    assert_true(ride_open(r, LAW_LFT_1));
    ride_press(r, EVENT_IN_MOTION); /* and something moves after it: search again */
    ride_press(r, EVENT_IN_CONFIRM);
    ride_wait(r, 5);
    assert_true(ride_open(r, LAW_LFT_1));
    ride_press(r, EVENT_IN_PATROL);
    ride_press(r, EVENT_IN_CONFIRM);
    ride_wait(r, 1);
    assert_int_equal(ride_last(r, LAW_LFT_1, NULL), RULES_CLOSED);
    ride_free(r);
}

static void test_card_left(void **state)
{
    (void)state;
    struct ride *r = under_way(20);
    ride_card(r, 1, EVENT_CARD_TAP);
    ride_card(r, 2, EVENT_CARD_TAP);
    assert_true(bus_card_aboard(&r->s->bus, 2));
    ride_wait(r, 5);
    ride_set(r, EVENT_IN_IGNITION, false);
    ride_set(r, EVENT_IN_DOOR_FRONT, true);
    ride_doors(r, 0, 21);
    ride_card(r, 2, EVENT_CARD_TAP);
    ride_wait(r, 20);
    ride_set(r, EVENT_IN_DOOR_FRONT, false);
    ride_wait(r, 61);
    assert_true(ride_open(r, LAW_LFT_1)); /* card 1 never got off */
    ride_press(r, EVENT_IN_PATROL);
    ride_press(r, EVENT_IN_CONFIRM); /* a button has no name */
    ride_wait(r, 2);
    assert_true(ride_open(r, LAW_LFT_1));
    ride_card(r, RIDE_STAFF_CARD, EVENT_CARD_TAP); /* a name answers for it */
    ride_wait(r, 2);
    assert_int_equal(ride_last(r, LAW_LFT_1, NULL), RULES_CLOSED);
    ride_free(r);
}

static void test_patrol(void **state)
{
    (void)state;
    struct ride *r = under_way(20);
    ride_wait(r, 5);
    ride_set(r, EVENT_IN_IGNITION, false);
    int64_t off_ms = r->s->now_ms;
    ride_stop(r, 0, 21);
    ride_wait(r, (int)((off_ms + 179000 - r->s->now_ms) / 1000));
    assert_int_equal(ride_last(r, LAW_LFT_2, NULL), 0);
    ride_wait(r, 2);
    assert_true(ride_open(r, LAW_LFT_2));
    ride_press(r, EVENT_IN_PATROL);
    ride_wait(r, 1);
    assert_int_equal(ride_last(r, LAW_LFT_2, NULL), RULES_CLOSED);
    assert_int_equal(r->s->bus.run, BUS_RUN_IDLE); /* nothing spoke for a pupil: the button is enough */
    ride_free(r);
    r = under_way(20); /* the engine is started again within a minute */
    ride_wait(r, 5);
    ride_set(r, EVENT_IN_IGNITION, false);
    ride_wait(r, 50);
    ride_set(r, EVENT_IN_IGNITION, true);
    ride_wait(r, 200);
    assert_int_equal(ride_last(r, LAW_LFT_2, NULL), 0);
    ride_free(r);
    r = under_way(0); /* no button: nobody is judged for not pressing it */
    r->fitted &= ~(uint32_t)EVENT_IN_PATROL;
    r->s->bus.inputs_fitted &= ~(uint32_t)EVENT_IN_PATROL;
    arrive(r, 0, 0);
    ride_wait(r, 300);
    assert_int_equal(ride_last(r, LAW_LFT_2, NULL), 0);
    ride_free(r);
}

/* ---- both ends ---- */

/* What the bus sent, over the wire and judged again without its ticks: the same episodes by id, rule and end. */
static void test_office_derives_the_same(void **state)
{
    (void)state;
    struct ride *r = under_way(20);
    ride_set(r, EVENT_IN_BELTS | EVENT_IN_FRONT_SEAT, true);
    ride_drive(r, 75, 60);
    ride_set(r, EVENT_IN_DOOR_FRONT, true);
    ride_drive(r, 30, 5);
    ride_set(r, EVENT_IN_BELTS | EVENT_IN_FRONT_SEAT | EVENT_IN_DOOR_FRONT, false);
    ride_set(r, EVENT_IN_BEACON, false);
    ride_drive(r, 30, 70);
    ride_set(r, EVENT_IN_BEACON, true);
    ride_card(r, RIDE_STAFF_CARD, EVENT_CARD_OFF);
    ride_card(r, 1, EVENT_CARD_ON);
    ride_drive(r, 30, 70);
    ride_set(r, EVENT_IN_SMOKE | EVENT_IN_TAMPER, true);
    ride_drive(r, 30, 10);
    ride_set(r, EVENT_IN_SMOKE | EVENT_IN_TAMPER, false);
    ride_stop(r, 30, 0); /* overloaded */
    ride_drive(r, 30, 60);
    ride_set(r, EVENT_IN_DRIVER_SEAT, false);
    ride_wait(r, 15);
    ride_set(r, EVENT_IN_DRIVER_SEAT, true);
    arrive(r, 50, 2);
    ride_wait(r, 250);
    ride_press(r, EVENT_IN_PATROL);
    ride_card(r, RIDE_STAFF_CARD, EVENT_CARD_TAP);
    ride_wait(r, 30);
    struct scene *office = scene_new(RIDE_VEHICLE, "");
    size_t i = 0;
    while (i < r->sents) { /* batches, as an uplink makes them */
        static struct wire_frame out;
        static struct event batch[100];
        static unsigned char bytes[WIRE_FRAME_MAX];
        size_t n = 0, len = 0, first = i;
        const char *fault = "";
        for (; n < 100 && i < r->sents; i++) {
            batch[n] = r->sent[i];
            batch[n++].clock = EVENT_CLOCK_GNSS;
        }
        assert_int_equal(wire_encode_batch(EVENT_LANE_BULK, first + 1, false, batch, n, bytes, sizeof bytes, &len), RC_OK);
        assert_int_equal(wire_decode(bytes, len, &out, &fault), RC_OK);
        for (size_t k = 0; k < out.batch.n; k++)
            scene_event(office, &out.batch.event[k]);
    }
    uint32_t seen = 0;
    size_t compared = 0;
    for (size_t k = 0; k < r->s->n; k++) {
        const struct rules_finding *f = &r->s->found[k];
        if (f->change != RULES_OPENED)
            continue;
        bool same = false;
        for (size_t m = 0; m < office->n && !same; m++)
            same = office->found[m].change == RULES_OPENED && office->found[m].id == f->id && office->found[m].rule == f->rule;
        if (!same)
            fail_msg("%s opened on the bus at %+lld ms, not in the office", law_rule_word((enum law_rule)f->rule),
                     (long long)(f->began_ms - SCENE_T0));
        seen |= 1U << rules_ladder_of((enum law_rule)f->rule);
        compared++;
    }
    size_t there = 0;
    for (size_t m = 0; m < office->n; m++)
        there += office->found[m].change == RULES_OPENED;
    printf("%zu events over the wire, %zu episodes, the same %zu in the office\n", r->sents, compared, there);
    assert_int_equal(there, compared);
    for (int l = RULES_FRONT; l < RULES_LADDERS; l++)
        if (!(seen >> l & 1))
            fail_msg("the ride does not show ladder %d", l);
    assert_true(memcmp(&office->bus.pupil, &r->s->bus.pupil, sizeof office->bus.pupil) == 0 && office->bus.run == r->s->bus.run);
    assert_int_equal(office->bus.door[0].base_boarded, r->s->bus.door[0].base_boarded);
    assert_int_equal(bus_persons(&office->bus, office->v).persons, bus_persons(&r->s->bus, r->s->v).persons);
    scene_free(office);
    ride_free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_door_while_driving),
        cmocka_unit_test(test_attendant),
        cmocka_unit_test(test_belts),
        cmocka_unit_test(test_front_seat),
        cmocka_unit_test(test_driver_seat),
        cmocka_unit_test(test_fire),
        cmocka_unit_test(test_tamper),
        cmocka_unit_test(test_beacon),
        cmocka_unit_test(test_left_behind),
        cmocka_unit_test(test_getting_off),
        cmocka_unit_test(test_motion),
        cmocka_unit_test(test_card_left),
        cmocka_unit_test(test_patrol),
        cmocka_unit_test(test_office_derives_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
