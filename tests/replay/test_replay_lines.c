/* Lines of replay_line.h: what is written is read again as the same event, and what makes no sense is refused with a reason. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "gateway/drivers/replay_line.h"

/* What is written is read again as the same event. */
static void lines_round_trip(void **state)
{
    (void)state;
    static const char *const lines[] = {
        "1000 fix -31.2304167 121.4737000 8.330 92.50 0.9 12 3 -4.5", "0 fix - - - - - 0 1",        "5 count camera 0 - - 33 80 doubtful",
        "1795390245000 count door 3 1 2 - 0 reset doubtful zeroed",   "7 inputs sos=1 hazard=0", "9 camera bsd end 255 4294967295 10 255 255", "9 health silent -3"};
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        struct event e;
        int64_t ms = 0;
        char why[200], again[300];
        assert_int_equal(replay_line_parse(lines[i], &ms, &e, why, sizeof why), RC_OK);
        replay_line_format(ms, &e, again, sizeof again);
        assert_string_equal(again, lines[i]);
    }
    static const char *const wrong[] = {"x fix", "1", "1 fix 1 2", "1 fix 91 0 0 0 0 0 3", "1 count roof 0 1 2 - 5", "1 inputs sos=2", "1 inputs roof=1", "1 camera dsm twice 1 1", "1 health well 0", "-1 inputs"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct event e;
        int64_t ms = 0;
        char why[200] = "";
        enum rc rc = replay_line_parse(wrong[i], &ms, &e, why, sizeof why);
        assert_true(rc == RC_INVALID || rc == RC_RANGE);
        assert_true(why[0] != '\0');
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(lines_round_trip)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
