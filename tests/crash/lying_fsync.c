/*
 * lying-fsync IMAGE FOLDER ROUNDS, as root: nothing of ours, only ext4. IMAGE is an ext4 (mkfs.ext4 on 24 MiB). Each round appends numbered blocks
 * with an fdatasync each while the file system is shut down (FS_IOC_SHUTDOWN without a log flush), mounts it again and counts the blocks fdatasync
 * had said 0 of and that are gone. Seen on Linux 6.18: 11 of 200 rounds, always the one block whose fdatasync was under way; after the first EIO none
 * said 0 again.
 */
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <unistd.h>

static int folder;

static void *cut(void *after_us)
{
    unsigned how = 2;
    usleep(*(useconds_t *)after_us);
    return ioctl(folder, _IOR('X', 125, unsigned), &how) == 0 ? NULL : after_us;
}

int main(int argc, char **argv)
{
    static int block[1024];
    char mount_it[1024], path[512];
    int lies = 0, rounds = argc > 3 ? atoi(argv[3]) : 0;
    for (int r = 0; r < rounds; r++) {
        pthread_t thread;
        useconds_t us = 3000 + (useconds_t)rand() % 20000;
        int said = 0, there = 0;
        snprintf(mount_it, sizeof mount_it, "mount -o loop %s %s", argv[1], argv[2]);
        snprintf(path, sizeof path, "%s/file", argv[2]);
        if (system(mount_it) != 0)
            return 2;
        int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
        folder = open(argv[2], O_RDONLY);
        if (fsync(fd) != 0 || pthread_create(&thread, NULL, cut, &us) != 0)
            return 2;
        for (block[7] = r << 16; pwrite(fd, block, sizeof block, said * 4096L) == 4096 && fdatasync(fd) == 0; block[7]++)
            said++;
        pthread_join(thread, NULL);
        close(fd);
        close(folder);
        while (umount(argv[2]) != 0)
            usleep(1000);
        if (system(mount_it) != 0)
            return 2;
        fd = open(path, O_RDONLY);
        while (there < said && pread(fd, block, sizeof block, there * 4096L) == 4096 && block[7] == (r << 16) + there)
            there++;
        close(fd);
        umount(argv[2]);
        lies += there < said;
    }
    printf("rounds %d, of them with a block lost that fdatasync had said 0 of: %d\n", rounds, lies);
    return 0;
}
