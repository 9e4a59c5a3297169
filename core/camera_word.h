/*
 * camera_word - what the numbers of camera alarms mean, in both languages. Pure.
 *
 * source: T/JSATL 12-2017, tables of function 0x36 and of platform items 0x64 to 0x67; the types of Guangdong's text (粤标) under the same numbers.
 */
#ifndef SCHOOLWARD_CAMERA_WORD_H
#define SCHOOLWARD_CAMERA_WORD_H

#include <stdint.h>

struct camera_word {
    const char *zh, *en;
};

/*
 * camera_word_of - an alarm's words.
 *   unit   enum event_camera_unit
 *   type   its number; TPMS: the bits of its wheels, of which the gravest is named
 *   returns  static texts, never NULL: "未知报警" / "unknown alarm" for a number that has none
 */
struct camera_word camera_word_of(uint8_t unit, uint8_t type);
/* The unit's own words: "驾驶员状态监测" / "driver monitoring". */
struct camera_word camera_word_unit(uint8_t unit);

#endif
