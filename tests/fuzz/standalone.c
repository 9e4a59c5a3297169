/*
 * standalone - feeds every file of the given folders to a fuzz target once, so that a corpus is an ordinary test without libFuzzer.
 */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int feed(const char *path)
{
    FILE *f = fopen(path, "rb");
    if (f == NULL) {
        perror(path);
        return -1;
    }
    uint8_t *data = malloc(1 << 20);
    size_t n = data == NULL ? 0 : fread(data, 1, 1 << 20, f);
    fclose(f);
    if (data == NULL)
        return -1;
    uint8_t *exact = malloc(n + 1); /* of its own size, so that a sanitizer sees a read past the end */
    if (exact != NULL) {
        for (size_t i = 0; i < n; i++)
            exact[i] = data[i];
        LLVMFuzzerTestOneInput(exact, n);
    }
    free(exact);
    free(data);
    return 0;
}

int main(int argc, char **argv)
{
    int fed = 0;
    for (int i = 1; i < argc; i++) {
        DIR *d = opendir(argv[i]);
        if (d == NULL) {
            perror(argv[i]);
            return 1;
        }
        for (struct dirent *e; (e = readdir(d)) != NULL;) {
            char path[4096];
            if (e->d_name[0] == '.')
                continue;
            snprintf(path, sizeof path, "%s/%s", argv[i], e->d_name);
            if (feed(path) != 0) {
                closedir(d);
                return 1;
            }
            fed++;
        }
        closedir(d);
    }
    printf("%d inputs\n", fed);
    return fed > 0 ? 0 : 1;
}
