/* tempdir - take a test's folder away again, whatever is in it. */
#ifndef TEMPDIR_H
#define TEMPDIR_H

#include <ftw.h>
#include <stdio.h>
#include <sys/stat.h>

static inline int tempdir_each(const char *path, const struct stat *st, int flag, struct FTW *at)
{
    (void)st;
    (void)flag;
    (void)at;
    return remove(path);
}

static inline int tempdir_remove(const char *dir)
{
    return nftw(dir, tempdir_each, 16, FTW_DEPTH | FTW_PHYS);
}

#endif
