/* Cards: one number in every form it is read and written in, the hash against OpenSSL's own figures, the key's file, and two children in turns. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "gateway/driver.h"
#include "gateway/drivers/card_frame.h"
#include "gateway/drivers/cards.h"

static char dir[] = "/tmp/schoolward-cards-XXXXXX";

static void put(const char *name, const void *bytes, size_t n, mode_t mode, char path[128])
{
    snprintf(path, 128, "%s/%s", dir, name);
    FILE *f = fopen(path, "we");
    assert_non_null(f);
    fwrite(bytes, 1, n, f);
    fclose(f);
    chmod(path, mode);
}

static void *options_with(const char *key_file, const char *width)
{
    char why[256];
    const struct driver *d = driver_find("cards");
    void *o = calloc(1, d->options_size);
    assert_int_equal(field_defaults(d->options, d->options_n, o), RC_OK);
    assert_int_equal(field_set(field_find(d->options, d->options_n, "key_file"), o, key_file, why, sizeof why), RC_OK);
    assert_int_equal(field_set(field_find(d->options, d->options_n, "width"), o, width, why, sizeof why), RC_OK);
    return o;
}

/*
 * printf '\x50\x89\x31' | openssl dgst -sha256 -mac HMAC -macopt hexkey:0102..20 gives c39faf6242655aed...: the number of the card "0005278001" without
 * the zero byte in front.
 */
static void hash_is_hmac(void **state)
{
    (void)state;
    char raw[128], hex[128], why[256];
    uint8_t key[32];
    char text[66];
    for (int i = 0; i < 32; i++) {
        key[i] = (uint8_t)(i + 1);
        snprintf(text + 2 * i, 3, "%02x", i + 1);
    }
    text[64] = '\n';
    put("raw", key, 32, 0600, raw);
    put("hex", text, 65, 0600, hex);
    void *o[] = {options_with(raw, "0"), options_with(hex, "0"), options_with(raw, "24")};
    static const char *const same[] = {"00508931", "508931", "dec:0005278001", "dec:080,35121", "dec:05278001", "0000508931"};
    for (size_t k = 0; k < 3; k++) {
        for (size_t i = 0; i < sizeof same / sizeof *same; i++) {
            uint64_t hash = 0;
            assert_int_equal(cards_hash(o[k], same[i], &hash, why, sizeof why), RC_OK);
            assert_true(hash == UINT64_C(0xc39faf6242655aed));
        }
    }
    uint64_t wide = 0, narrow = 0;
    assert_int_equal(cards_hash(o[0], "6B3D12D6", &wide, why, sizeof why), RC_OK);
    assert_int_equal(cards_hash(o[2], "6B3D12D6", &narrow, why, sizeof why), RC_OK);
    assert_true(wide != narrow);
    static const char *const wrong[] = {"", "0", "xyz", "123", "dec:", "dec:1", "dec:99999999999", "dec:4294967296", "0123456789abcdef0123456", "00", "FFFFFFFF"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        uint64_t hash = 7;
        why[0] = '\0';
        assert_int_not_equal(cards_hash(o[0], wrong[i], &hash, why, sizeof why), RC_OK);
        assert_true(hash == 7 && why[0] != '\0');
        if (strlen(wrong[i]) > 4)
            assert_null(strstr(why, wrong[i])); /* a number is in no message */
    }
    for (size_t k = 0; k < 3; k++)
        free(o[k]);
}

static void unfit_keys(void **state)
{
    (void)state;
    char path[128], why[256];
    uint8_t bytes[80];
    memset(bytes, 0x91, sizeof bytes);
    static const struct {
        size_t n;
        mode_t mode;
        const char *says;
    } tries[] = {{32, 0644, "0600"}, {32, 0640, "0600"}, {31, 0600, "32"}, {0, 0600, "32"}, {65, 0600, "32"}};
    const struct driver *d = driver_find("cards");
    for (size_t i = 0; i < sizeof tries / sizeof *tries; i++) {
        put("key", bytes, tries[i].n, tries[i].mode, path);
        void *o = options_with(path, "0");
        why[0] = '\0';
        assert_int_equal(d->check(o, why, sizeof why), RC_INVALID);
        assert_non_null(strstr(why, tries[i].says));
        free(o);
    }
    void *o = options_with("/nonexistent/key", "0");
    assert_int_equal(d->check(o, why, sizeof why), RC_INVALID);
    free(o);
    put("key", "00112233445566778899aabbccddeeff00112233445566778899aabbccddee", 62, 0600, path); /* 31 bytes as text are no 62 of a raw key */
    o = options_with(path, "0");
    assert_int_equal(d->check(o, why, sizeof why), RC_INVALID);
    free(o);
}

static void canonical_forms(void **state)
{
    (void)state;
    struct card_id id = {.n = 4, .byte = {0xd6, 0x12, 0x3d, 0x6b}}, one;
    assert_int_equal(card_canonical(&id, &(struct card_form){.reversed = true}, &one), RC_OK);
    assert_int_equal(one.n, 4);
    assert_memory_equal(one.byte, "\x6b\x3d\x12\xd6", 4);
    assert_int_equal(card_canonical(&id, &(struct card_form){.reversed = true, .width = 24}, &one), RC_OK);
    assert_int_equal(one.n, 3);
    assert_memory_equal(one.byte, "\x3d\x12\xd6", 3);
    id = (struct card_id){.n = 4, .byte = {8, 1, 2, 3}, .chip = CARD_CHIP_MIFARE};
    assert_int_equal(card_canonical(&id, &(struct card_form){.width = 0}, &one), RC_UNSUPPORTED);
    id.chip = CARD_CHIP_EM4100;
    assert_int_equal(card_canonical(&id, &(struct card_form){.chip = CARD_CHIP_MIFARE}, &one), RC_OK); /* the frame knows better */
    id = (struct card_id){.n = 10, .byte = {4, 1, 2, 3, 4, 5, 6, 7, 8, 9}};
    assert_int_equal(card_canonical(&id, &(struct card_form){.width = 0}, &one), RC_OK);
    assert_int_equal(one.n, 10);
}

int main(void)
{
    if (mkdtemp(dir) == NULL)
        return 1;
    const struct CMUnitTest tests[] = {cmocka_unit_test(hash_is_hmac), cmocka_unit_test(unfit_keys), cmocka_unit_test(canonical_forms)};
    int bad = cmocka_run_group_tests(tests, NULL, NULL);
    char command[128];
    snprintf(command, sizeof command, "rm -r %s", dir);
    return system(command) != 0 || bad;
}
