/*
 * sim - the subcommands of schoolward-sim. Each takes its own arguments (argv[0] is its name) and returns an exit code of sysexits.h.
 */
#ifndef SCHOOLWARD_SIM_H
#define SCHOOLWARD_SIM_H

int sim_plan(int argc, char **argv);   /* plan.c: routes, a fleet file, duties, scenarios */
int sim_bus(int argc, char **argv);    /* hardware.c: the devices of one bus */
int sim_fleet(int argc, char **argv);  /* fleet.c: many buses that speak the wire */
int sim_load(int argc, char **argv);
int sim_herd(int argc, char **argv);   /* load.c: a cheap flood for benches */
int sim_replay(int argc, char **argv); /* replay.c: a recorded day of buses */

#endif
