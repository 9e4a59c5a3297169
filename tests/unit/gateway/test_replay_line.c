/* replay_line: what is written reads back the same, for every kind; what is wrong is refused with a reason. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "gateway/drivers/replay_line.h"

static void reads_back(void **state)
{
    static const char *const lines[] = {
        "0 fix 31.2304167 121.4737000 8.330 92.50 0.9 12 3 4.5",
        "500 inputs door_front=0 ignition=1 patrol=1 smoke=0 tamper=1",
        "1000 count door 2 12 3 - 95 reset doubtful",
        "1500 camera dsm begin 1 4711 7 34 1",
        "2000 health failed -5",
        "2500 card hash=18446744073709551615 kind=attendant way=on door=1",
        "3000 tally low=10 best=11 high=12 boarded=4 alighted=- confidence_pct=97 flags=1 sources=6",
        "3500 tally low=- best=- high=- boarded=- alighted=- confidence_pct=0 flags=2 sources=0",
        "4000 gap from_seq=7 to_seq=12 n=3 lane=0 reason=thinned",
        "4500 media sha256=00112233445566778899aabbccddeeff id=9 bytes=4294967295 alarm_id=1 unit=101 type=video state=given_up",
        "5000 gnss value=-12 fault=jammed over=1",
        "5500 reading value=-4500 what=cabin_c channel=2",
        "6000 action ref=77 value=- what=config_back",
    };
    (void)state;
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        struct event e;
        int64_t ms = -1;
        char why[200] = "", again[512];
        if (replay_line_parse(lines[i], &ms, &e, why, sizeof why) != RC_OK)
            fail_msg("%s: %s", lines[i], why);
        assert_true(replay_line_format(ms, &e, again, sizeof again) < (int)sizeof again);
        assert_string_equal(again, lines[i]);
    }
}

static void refuses(void **state)
{
    static const struct {
        const char *line;
        enum rc rc;
    } bad[] = {
        {"0 card kind=dog", RC_INVALID},
        {"0 card door=4", RC_RANGE},
        {"0 card hash=-1", RC_INVALID},
        {"0 card hash=18446744073709551616", RC_INVALID},
        {"0 tally low=5 best=4 high=6", RC_RANGE},
        {"0 tally low=- best=4 high=6", RC_RANGE},
        {"0 tally low=- best=- high=6", RC_RANGE},
        {"0 gap from_seq=9 to_seq=8 n=1 reason=oldest", RC_RANGE},
        {"0 gap n=1", RC_RANGE}, /* no reason given */
        {"0 media sha256=0011 unit=101 state=kept", RC_INVALID},
        {"0 media unit=99 state=kept", RC_RANGE},
        {"0 reading value=1", RC_RANGE},
        {"0 action what=", RC_INVALID},
        {"0 action what=boot value", RC_INVALID},
        {"0 inputs hoof=1", RC_INVALID},
        {"0 cart", RC_INVALID},
    };
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct event e;
        int64_t ms = -1;
        char why[200] = "";
        enum rc rc = replay_line_parse(bad[i].line, &ms, &e, why, sizeof why);
        if (rc != bad[i].rc || why[0] == '\0')
            fail_msg("%s: rc %d, %s", bad[i].line, (int)rc, why);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(reads_back), cmocka_unit_test(refuses)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
