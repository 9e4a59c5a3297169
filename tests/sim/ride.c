#include "ride.h"

#include <math.h>
#include <string.h>

#include "../../core/event.h"

#define DOOR_S    1.5  /* standing before the door opens, and after it has closed before the bus moves */
#define STEP_IN_S 1.6  /* one child through the door */
#define LAYOVER_S 25.0 /* at the school between two laps */

static void enter_lap(struct ride *r)
{
    r->path = r->lap == 0 && r->bus->detour ? r->bus->detour : r->bus->route->path;
    r->next_stop = 0;
    while (r->next_stop < r->path->stops && r->path->stop_m[r->next_stop] <= r->along_m + 1)
        r->next_stop++;
}

void ride_begin(struct ride *r, const struct scenario_bus *bus)
{
    memset(r, 0, sizeof *r);
    r->bus = bus;
    r->along_m = bus->start_m;
    r->pupils = bus->aboard;
    r->boarded = bus->aboard + bus->staff_counted;
    r->inputs = EVENT_IN_IGNITION | (r->pupils > 0 ? EVENT_IN_BEACON : 0);
    enter_lap(r);
    r->at = path_at(r->path, r->along_m, &r->course_deg);
}

const struct scenario_happening *ride_happening(const struct ride *r, enum scenario_what what)
{
    for (size_t i = 0; i < r->bus->events; i++) {
        const struct scenario_happening *e = &r->bus->event[i];
        if (e->what == what && r->t_s >= e->at_s && r->t_s < e->at_s + e->for_s)
            return e;
    }
    return NULL;
}

static int boarders(struct ride *r)
{
    size_t stop = r->next_stop;
    bool own = r->path == r->bus->detour;
    int n = own ? r->bus->detour_board[stop] : r->bus->route->board[stop];
    const struct scenario_happening *over = ride_happening(r, SCENARIO_OVERLOAD);
    if (over && !r->overloaded && stop + 1 < r->path->stops) {
        r->overloaded = true;
        n = r->bus->rated - r->bus->staff - r->pupils + (int)over->value;
    } else if (!r->overloaded && r->pupils + n > r->bus->rated - r->bus->staff) {
        n = r->bus->rated - r->bus->staff - r->pupils;
    } else if (r->overloaded) {
        n = 0;
    }
    return n > 0 ? n : 0;
}

static void arrive(struct ride *r)
{
    r->v_mps = 0;
    r->phase = RIDE_OPEN;
    r->wait_s = DOOR_S;
    bool last = r->next_stop + 1 >= r->path->stops;
    const struct scenario_happening *left = last && r->pupils > 0 ? ride_happening(r, SCENARIO_LEFT_BEHIND) : NULL;
    r->left_s = left != NULL ? left->value : 0;
    r->to_alight = last ? r->pupils - (left != NULL) : 0;
    r->to_board = last ? 0 : boarders(r);
}

static void leave(struct ride *r)
{
    r->phase = RIDE_DRIVE;
    if (++r->next_stop >= r->path->stops) {
        r->lap++;
        r->along_m = 0;
        r->overloaded = false;
        enter_lap(r);
    }
}

static void at_stop(struct ride *r, double dt_s)
{
    const uint32_t signs = EVENT_IN_STOP_ARM | EVENT_IN_BEACON | EVENT_IN_HAZARD;
    r->wait_s -= dt_s;
    if (r->wait_s > 0)
        return;
    switch (r->phase) {
    case RIDE_OPEN:
        r->inputs |= EVENT_IN_DOOR_FRONT | signs;
        r->phase = RIDE_BOARD;
        r->wait_s = STEP_IN_S;
        break;
    case RIDE_BOARD:
        r->wait_s = STEP_IN_S;
        if (r->to_alight > 0) {
            r->to_alight--;
            r->pupils--;
            r->alighted++;
        } else if (r->to_board > 0) {
            r->to_board--;
            r->pupils++;
            r->boarded++;
        } else {
            r->inputs &= ~(uint32_t)(EVENT_IN_DOOR_FRONT | signs);
            r->phase = RIDE_CLOSE;
            r->wait_s = r->next_stop + 1 >= r->path->stops ? LAYOVER_S + r->left_s : DOOR_S;
        }
        break;
    case RIDE_CLOSE:
        if (r->left_s > 0) { /* somebody found the child */
            r->left_s = 0;
            r->to_alight = r->pupils;
            r->phase = RIDE_OPEN;
            r->wait_s = DOOR_S;
        } else {
            leave(r);
        }
        break;
    case RIDE_DRIVE: break;
    }
}

void ride_step(struct ride *r, double dt_s)
{
    r->t_s += dt_s;
    if (ride_happening(r, SCENARIO_SOS))
        r->inputs |= EVENT_IN_SOS;
    else
        r->inputs &= ~(uint32_t)EVENT_IN_SOS;
    if (r->phase != RIDE_DRIVE) {
        at_stop(r, dt_s);
    } else {
        double want = path_speed_mps(r->path, r->along_m, ride_happening(r, SCENARIO_SPEEDING) != NULL);
        double v = fmin(want, r->v_mps + PATH_ACCEL_MPS2 * dt_s);
        if (v < r->v_mps - 2.5 * PATH_BRAKE_MPS2 * dt_s) /* the haste is over: no emergency stop */
            v = r->v_mps - 2.5 * PATH_BRAKE_MPS2 * dt_s;
        if (v < 0.6)
            v = 0.6;
        double stop_m = r->next_stop < r->path->stops ? r->path->stop_m[r->next_stop] : r->path->length_m;
        r->v_mps = v;
        r->along_m += v * dt_s;
        if (r->along_m >= stop_m - 0.3) {
            r->along_m = stop_m;
            arrive(r);
        }
    }
    if (r->phase == RIDE_DRIVE)
        r->inputs &= ~(uint32_t)EVENT_IN_PARKING_BRAKE;
    else
        r->inputs |= EVENT_IN_PARKING_BRAKE;
    if (r->pupils > 0) /* lit as long as pupils are aboard, R617 art. 30 */
        r->inputs |= EVENT_IN_BEACON;
    else if (r->phase != RIDE_BOARD)
        r->inputs &= ~(uint32_t)EVENT_IN_BEACON;
    r->at = path_at(r->path, r->along_m, &r->course_deg);
}
