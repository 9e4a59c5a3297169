#include "keeper.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../core/base/clock.h"
#include "../core/base/log.h"
#include "../core/bundle.h"

enum {
    JOBS_MAX = 16,
    RESTART_MS = 300, /* results first; looked at again until they are out */
    RESTART_LAST_MS = 5000,
};

enum job { JOB_APPLY, JOB_SECRET, JOB_CONFIRM, JOB_GIVE_UP, JOB_LASTED, JOB_TOLD };

struct keeper {
    uv_loop_t *loop;
    struct keeper_setup setup;
    uv_timer_t trial, lasted, safe, restart;
    int closing;
    struct care_state seen; /* as of the last job: what the loop may look at while the pool works */
    enum report_config config;
    bool confirming;
    int64_t restart_ms;

    uv_work_t work;
    bool working;
    uint8_t job[JOBS_MAX]; /* enum job; [0] is under way */
    size_t jobs;
    /* of the jobs */
    uint64_t order, version;
    bool applying, stopping;
    char secret[UPLINK_SECRET_MAX + 1];
    uint64_t secret_order;
    uint8_t kind;
    struct duty_file *duty;
    enum rc rc;
    char why[WIRE_RESULT_MAX + 1];
    void (*on_stopped)(void *arg);
    void *stopped_arg;
};

static void next_job(struct keeper *k);

/* --- in the pool --- */

static void on_work(uv_work_t *w)
{
    struct keeper *k = w->data;
    k->why[0] = '\0';
    switch ((enum job)k->job[0]) {
    case JOB_APPLY: k->rc = care_apply(k->setup.care, k->setup.local, &k->kind, &k->duty, k->why, sizeof k->why); return;
    case JOB_SECRET: {
        char dir[256];
        snprintf(dir, sizeof dir, "%s", k->setup.local->factory->gateway.state_dir);
        k->rc = care_put_secret(dir, k->secret, k->why, sizeof k->why);
        return;
    }
    case JOB_CONFIRM: k->rc = care_confirm(k->setup.care, k->why, sizeof k->why); return;
    case JOB_GIVE_UP: k->rc = care_give_up(k->setup.care, k->why, sizeof k->why); return;
    case JOB_LASTED: k->rc = care_lasted(k->setup.care, k->why, sizeof k->why); return;
    case JOB_TOLD: k->rc = care_back_told(k->setup.care, k->why, sizeof k->why); return;
    }
}

/* --- on the loop --- */

static void on_restart(uv_timer_t *t)
{
    struct keeper *k = t->data;
    if (!orders_idle(k->setup.orders) && clock_mono_ms() - k->restart_ms < RESTART_LAST_MS)
        return;
    uv_timer_stop(t);
    k->setup.restart(k->setup.arg);
}

static void restart_soon(struct keeper *k)
{
    k->restart_ms = clock_mono_ms();
    uv_timer_start(&k->restart, on_restart, RESTART_MS, RESTART_MS);
}

static void applied(struct keeper *k)
{
    const char *word = bundle_kind_word(k->kind);
    k->applying = false;
    if (k->rc != RC_OK) {
        log_warning("care", "version %" PRIu64 " refused: %s", k->version, k->why);
        orders_answer(k->setup.orders, k->order, false, k->why);
        return;
    }
    if (k->kind == WIRE_BUNDLE_CONFIG) {
        log_notice("care", "configuration %" PRIu64 " is good and runs on trial from now on", k->version);
        restart_soon(k); /* the order's result is that of the trial */
        return;
    }
    log_notice("care", "%s %" PRIu64 " is in force: duty %s, law %s", word, k->version, k->duty->duty_version, k->duty->law_version);
    gateway_action(k->setup.gateway, EVENT_ACTION_DUTY, k->version, EVENT_UNKNOWN);
    k->setup.duty(k->setup.arg, k->duty);
    k->duty = NULL;
    orders_answer(k->setup.orders, k->order, true, "in force");
}

static void changed_secret(struct keeper *k)
{
    if (k->rc == RC_OK) {
        log_notice("care", "the secret was changed by the office");
        gateway_action(k->setup.gateway, EVENT_ACTION_SECRET, k->secret_order, EVENT_UNKNOWN);
        k->setup.secret(k->setup.arg, k->secret);
    }
    orders_answer(k->setup.orders, k->secret_order, k->rc == RC_OK, k->rc == RC_OK ? "changed" : k->why);
    explicit_bzero(k->secret, sizeof k->secret);
}

static void confirmed(struct keeper *k, uint64_t version, uint64_t order)
{
    k->confirming = false;
    if (k->rc != RC_OK)
        return; /* the trial goes on: tried again at the next Welcome, or rolled back */
    uv_timer_stop(&k->trial);
    log_notice("care", "configuration %" PRIu64 " reached the server and is kept", version);
    gateway_action(k->setup.gateway, EVENT_ACTION_CONFIG_KEPT, version, EVENT_UNKNOWN);
    if (order != 0)
        orders_answer(k->setup.orders, order, true, "kept");
}

static void after_work(uv_work_t *w, int status)
{
    struct keeper *k = w->data;
    struct care_state was = k->seen;
    enum job job = (enum job)k->job[0];
    (void)status;
    k->working = false;
    memmove(k->job, k->job + 1, --k->jobs);
    k->seen = *care_state(k->setup.care);
    k->config = care_config_kind(k->setup.care);
    if (k->rc != RC_OK && job != JOB_APPLY)
        log_error("care", "%s", k->why);
    switch (job) {
    case JOB_APPLY: applied(k); break;
    case JOB_SECRET: changed_secret(k); break;
    case JOB_CONFIRM: confirmed(k, was.trial, was.trial_order); break;
    case JOB_GIVE_UP: restart_soon(k); break; /* also on a sick disk: starts of a trial are counted */
    case JOB_LASTED:
    case JOB_TOLD: break;
    }
    next_job(k);
}

static void next_job(struct keeper *k)
{
    if (k->working)
        return;
    if (k->jobs == 0) {
        if (k->on_stopped != NULL && k->closing == 0) {
            void (*on_stopped)(void *) = k->on_stopped;
            k->on_stopped = NULL;
            on_stopped(k->stopped_arg);
        }
        return;
    }
    k->work.data = k;
    k->working = true;
    if (uv_queue_work(k->loop, &k->work, on_work, after_work) != 0) {
        on_work(&k->work); /* no memory for a thread: slowly, but done */
        after_work(&k->work, 0);
    }
}

static bool add_job(struct keeper *k, enum job job)
{
    if (k->jobs == JOBS_MAX)
        return false;
    k->job[k->jobs++] = (uint8_t)job;
    next_job(k);
    return true;
}

enum rc keeper_order(void *arg, const struct wire_order *o, char *why, size_t cap)
{
    struct keeper *k = *(struct keeper **)arg;
    if (k == NULL || k->stopping)
        return RC_OK; /* without an answer: it comes again */
    if (o->kind == WIRE_ORDER_ROTATE) {
        if (k->secret[0] != '\0') {
            snprintf(why, cap, "another change of the secret is under way");
            return RC_AGAIN;
        }
        snprintf(k->secret, sizeof k->secret, "%.*s", UPLINK_SECRET_MAX, o->text);
        k->secret_order = o->id;
        return add_job(k, JOB_SECRET) ? RC_OK : RC_FULL;
    }
    if (o->id == k->seen.trial_order)
        return RC_OK; /* it is on trial: the result comes with the end of that */
    if (k->working || k->jobs > 0 || k->applying) {
        if (k->applying && o->id == k->order)
            return RC_OK; /* it is whole already */
        snprintf(why, cap, "another bundle is being looked at: try again");
        return RC_AGAIN;
    }
    enum rc rc = care_piece(k->setup.care, o, why, cap);
    if (rc != RC_END)
        return rc;
    k->order = o->id;
    k->version = o->bundle.version;
    k->kind = o->bundle.kind;
    k->applying = true;
    return add_job(k, JOB_APPLY) ? RC_OK : RC_FULL;
}

void keeper_welcomed(struct keeper *k)
{
    if (k->config != REPORT_CONFIG_TRIAL || k->confirming)
        return;
    k->confirming = add_job(k, JOB_CONFIRM);
}

static void on_trial_over(uv_timer_t *t)
{
    struct keeper *k = t->data;
    if (k->config != REPORT_CONFIG_TRIAL || k->confirming)
        return;
    log_error("care", "configuration %" PRIu64 " did not reach the server within %lld s: the one before runs again", k->seen.trial,
              (long long)k->setup.local->running->care.confirm_s);
    add_job(k, JOB_GIVE_UP);
}

static void on_lasted(uv_timer_t *t)
{
    struct keeper *k = t->data;
    if (!care_safe(k->setup.care))
        add_job(k, JOB_LASTED);
}

static void on_safe_over(uv_timer_t *t)
{
    struct keeper *k = t->data;
    log_notice("care", "safe mode lasted: trying the whole configuration again");
    add_job(k, JOB_LASTED);
    restart_soon(k);
}

void keeper_hello(const struct keeper *k, struct wire_hello *h)
{
    h->config = k->seen.kept[WIRE_BUNDLE_CONFIG];
    h->duty_bundle = k->seen.kept[WIRE_BUNDLE_DUTY];
    h->law_bundle = k->seen.kept[WIRE_BUNDLE_LAW];
}

void keeper_report(const struct keeper *k, struct selfreport_sources *s)
{
    s->boots = k->seen.boots;
    s->starts = (uint32_t)k->seen.starts;
    s->safe_mode = care_safe(k->setup.care);
    s->config = (uint8_t)k->config;
    s->config_version = k->config == REPORT_CONFIG_TRIAL ? k->seen.trial : k->config == REPORT_CONFIG_KEPT ? k->seen.kept[WIRE_BUNDLE_CONFIG] : 0;
    s->duty_version = k->seen.kept[WIRE_BUNDLE_DUTY];
    s->law_version = k->seen.kept[WIRE_BUNDLE_LAW];
}

/* --- begin and end --- */

static void tell_start(struct keeper *k)
{
    struct gateway *g = k->setup.gateway;
    if (!k->setup.again)
        gateway_action(g, EVENT_ACTION_BOOT, k->seen.boots, (int32_t)k->seen.starts);
    if (care_safe(k->setup.care)) {
        log_error("care",
                  "safe mode after %" PRIu64 " starts that did not last: position, inputs and alarms only; a new configuration from the office is "
                  "taken, and the whole one is tried again after %lld s",
                  k->seen.starts, (long long)k->setup.local->running->care.safe_s);
        gateway_action(g, EVENT_ACTION_SAFE_MODE, 0, (int32_t)k->seen.starts);
    }
    if (k->config == REPORT_CONFIG_TRIAL)
        gateway_action(g, EVENT_ACTION_CONFIG_TRIED, k->seen.trial, EVENT_UNKNOWN);
    if (k->seen.back != 0) {
        log_warning("care", "configuration %" PRIu64 " was given up; running %s", k->seen.back,
                    k->config == REPORT_CONFIG_KEPT ? "the one kept" : "the local one");
        gateway_action(g, EVENT_ACTION_CONFIG_BACK, k->seen.back, EVENT_UNKNOWN);
        if (k->seen.back_order != 0)
            orders_answer(k->setup.orders, k->seen.back_order, false,
                          "on trial it did not reach the server, or did not run: the one before runs again");
        add_job(k, JOB_TOLD);
    }
}

enum rc keeper_start(uv_loop_t *loop, const struct keeper_setup *s, struct keeper **ret_k)
{
    struct keeper *k = calloc(1, sizeof *k);
    if (k == NULL)
        return RC_NO_MEMORY;
    const struct config_care *c = &s->local->running->care;
    k->loop = loop;
    k->setup = *s;
    k->seen = *care_state(s->care);
    k->config = care_config_kind(s->care);
    uv_timer_t *timers[] = {&k->trial, &k->lasted, &k->safe, &k->restart};
    for (size_t i = 0; i < sizeof timers / sizeof timers[0]; i++) {
        uv_timer_init(loop, timers[i]);
        timers[i]->data = k;
    }
    if (k->config == REPORT_CONFIG_TRIAL)
        uv_timer_start(&k->trial, on_trial_over, (uint64_t)c->confirm_s * 1000, (uint64_t)c->confirm_s * 1000);
    if (care_safe(s->care))
        uv_timer_start(&k->safe, on_safe_over, (uint64_t)c->safe_s * 1000, 0);
    else
        uv_timer_start(&k->lasted, on_lasted, (uint64_t)c->lasted_s * 1000, 0);
    tell_start(k);
    *ret_k = k;
    return RC_OK;
}

static void on_closed(uv_handle_t *h)
{
    struct keeper *k = h->data;
    if (--k->closing == 0)
        next_job(k);
}

void keeper_stop(struct keeper *k, bool orderly, void (*on_stopped)(void *arg), void *arg)
{
    uv_timer_t *timers[] = {&k->trial, &k->lasted, &k->safe, &k->restart};
    if (orderly && !care_safe(k->setup.care) && k->seen.starts > 0)
        add_job(k, JOB_LASTED);
    k->stopping = true;
    k->on_stopped = on_stopped;
    k->stopped_arg = arg;
    k->closing = 4;
    for (size_t i = 0; i < sizeof timers / sizeof timers[0]; i++)
        uv_close((uv_handle_t *)timers[i], on_closed);
}

void keeper_free(struct keeper *k)
{
    if (k == NULL)
        return;
    duty_file_free(k->duty);
    care_close(k->setup.care);
    free(k);
}
