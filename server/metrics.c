#include "metrics.h"

#include <stdio.h>

struct text {
    char *at;
    size_t left;
};

static void metric(struct text *t, const char *name, const char *kind, const char *help, double v)
{
    int n = snprintf(t->at, t->left, "# HELP schoolward_%s %s\n# TYPE schoolward_%s %s\nschoolward_%s %.17g\n", name, help, name, kind, name, v);
    if (n > 0 && (size_t)n < t->left) {
        t->at += n;
        t->left -= (size_t)n;
    } else if (t->left > 0) {
        *t->at = '\0';
        t->left = 0;
    }
}

static void metric_closed(struct text *t, const struct ingest_figures *f)
{
    const struct {
        const char *why;
        uint64_t n;
    } row[] = {{"malformed", f->malformed}, {"unauthorised", f->unauthorised}, {"silent", f->silent},     {"replaced", f->replaced},
               {"version", f->version},     {"too_fast", f->too_fast},         {"too_big", f->too_big}};
    int n = snprintf(t->at, t->left, "# HELP schoolward_ingest_closed_total connections closed, by reason\n# TYPE schoolward_ingest_closed_total counter\n");
    for (size_t i = 0; n > 0 && (size_t)n < t->left && i <= sizeof row / sizeof row[0]; i++) {
        t->at += n;
        t->left -= (size_t)n;
        n = 0;
        if (i < sizeof row / sizeof row[0])
            n = snprintf(t->at, t->left, "schoolward_ingest_closed_total{reason=\"%s\"} %llu\n", row[i].why, (unsigned long long)row[i].n);
    }
}

void metrics_write(const struct metrics_sources *s, char *out, size_t cap)
{
    struct ingest_figures in;
    struct journal_figures jf;
    struct notify_figures nf;
    struct text t = {out, cap};
    ingest_figures(s->ingest, &in);
    journal_figures(s->journal, &jf);
    notify_figures(s->notify, &nf);
    metric(&t, "gateways_connected", "gauge", "gateways connected now", (double)in.connections);
    metric(&t, "ingest_frames_total", "counter", "batch frames accepted", (double)in.frames);
    metric(&t, "ingest_events_total", "counter", "events accepted", (double)in.events);
    metric(&t, "ingest_repeats_total", "counter", "events dropped because they were stored already", (double)in.repeats);
    metric(&t, "ingest_late_events_total", "counter", "events that came as backlog or old", (double)in.late);
    metric(&t, "ingest_acks_total", "counter", "acknowledgements sent", (double)in.acks);
    metric_closed(&t, &in);
    metric(&t, "journal_commits_total", "counter", "group commits", (double)jf.commits);
    metric(&t, "journal_bytes_total", "counter", "bytes of frames stored", (double)jf.bytes);
    metric(&t, "journal_failures_total", "counter", "commits that failed and were tried again", (double)jf.failures);
    metric(&t, "journal_waiting_frames", "gauge", "frames not yet on disk", (double)jf.waiting_frames);
    metric(&t, "journal_commit_ms_p50", "gauge", "milliseconds of a commit, median since last asked", jf.commit_ms_p50);
    metric(&t, "journal_commit_ms_max", "gauge", "milliseconds of a commit, longest since last asked", jf.commit_ms_max);
    struct devices_figures df;
    devices_figures(s->devices, &df);
    metric(&t, "enrolments_total", "counter", "gateways enrolled since the start", (double)df.enrolled);
    metric(&t, "enrolments_refused_total", "counter", "enrolment codes refused", (double)df.refused_codes);
    metric(&t, "orders_total", "counter", "orders given since the start, bundles included", (double)df.orders);
    metric(&t, "order_results_total", "counter", "results of orders", (double)df.results);
    metric(&t, "gateway_reports_total", "counter", "reports of gateways on themselves", (double)df.reports);
    metric(&t, "screens", "gauge", "screens connected now", (double)live_screens(s->live));
    metric(&t, "findings_total", "counter", "changes of findings since the start", (double)s->findings);
    metric(&t, "late_findings_total", "counter", "of them from backlog", (double)s->late_findings);
    metric(&t, "checkpoints_total", "counter", "checkpoints written since the start", (double)s->checkpoints);
    metric(&t, "notices_delivered_total", "counter", "notices the webhook took", (double)nf.delivered);
    metric(&t, "notices_expired_total", "counter", "notices that could not be delivered in time", (double)nf.expired);
    if (s->footage != NULL) {
        struct footage_figures ff;
        footage_figures(s->footage, &ff);
        metric(&t, "media_files_total", "counter", "pictures and clips that arrived whole", (double)ff.files);
        metric(&t, "media_damaged_total", "counter", "files whose hash was wrong, asked for again", (double)ff.damaged);
        metric(&t, "media_refused_total", "counter", "files not taken: too large, or no room on the disk", (double)ff.refused);
        metric(&t, "media_removed_total", "counter", "old files removed for new ones", (double)ff.removed);
        metric(&t, "media_bytes", "gauge", "bytes of pictures and clips on disk", (double)ff.bytes);
    }
    if (s->series != NULL) {
        struct series_figures sf;
        series_figures(s->series, &sf);
        metric(&t, "series_points_total", "counter", "points projected to the series database", (double)sf.points);
        metric(&t, "series_retries_total", "counter", "requests repeated", (double)sf.retries);
        metric(&t, "series_rejected_total", "counter", "lines in the dead-letter file", (double)sf.rejected);
        metric(&t, "series_lag_seconds", "gauge", "age of the oldest event not yet projected", (double)sf.lag_ms / 1000);
        metric(&t, "series_down", "gauge", "1 while the series database does not answer", sf.down ? 1 : 0);
    }
}
