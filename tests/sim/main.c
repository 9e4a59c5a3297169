/*
 * schoolward-sim - the buses that tests and the demo use: their hardware, or many of them on the wire.
 */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "sim.h"

static const struct {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *help;
} commands[] = {
    {"plan", sim_plan, "make routes along real streets, a fleet file for the server, duties and scenarios"},
    {"bus", sim_bus, "be the hardware of one bus: GNSS receiver, counter, inputs, camera"},
    {"fleet", sim_fleet, "be many buses that speak the wire"},
    {"load", sim_load, "flood a server with prepared frames"},
    {"herd", sim_herd, "be many gateways that lose a server and come back"},
    {"replay", sim_replay, "send a recorded day of buses (GTFS and positions)"},
};
#define COMMANDS (sizeof commands / sizeof *commands)

static void usage(FILE *f)
{
    fputs("usage: schoolward-sim COMMAND [options]\n", f);
    for (size_t i = 0; i < COMMANDS; i++)
        fprintf(f, "  %-8s %s\n", commands[i].name, commands[i].help);
}

int main(int argc, char **argv)
{
    signal(SIGPIPE, SIG_IGN);
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (argc < 2) {
        usage(stderr);
        return 64;
    }
    if (!strcmp(argv[1], "--help")) {
        usage(stdout);
        return 0;
    }
    if (!strcmp(argv[1], "--version")) {
        puts("schoolward-sim " SCHOOLWARD_VERSION);
        return 0;
    }
    for (size_t i = 0; i < COMMANDS; i++)
        if (!strcmp(argv[1], commands[i].name))
            return commands[i].run(argc - 1, argv + 1);
    fprintf(stderr, "schoolward-sim: %s: no such command\n", argv[1]);
    usage(stderr);
    return 64;
}
