/* SPDX-License-Identifier: Apache-2.0 */
#include "bench.h"

#include <json-glib/json-glib.h>
#include <math.h>

struct _BenchReport {
    JsonArray *results;
};

BenchSamples *
bench_samples_new(void)
{
    return g_array_new(FALSE, FALSE, sizeof(double));
}

void
bench_samples_add(BenchSamples *self, double value)
{
    g_array_append_val(self, value);
}

static int
compare_doubles(gconstpointer a, gconstpointer b)
{
    const double left = *(const double *)a;
    const double right = *(const double *)b;

    return (left > right) - (left < right);
}

static GArray *
sorted(const BenchSamples *self)
{
    GArray *copy = g_array_copy((GArray *)self);

    g_array_sort(copy, compare_doubles);
    return copy;
}

double
bench_samples_percentile(const BenchSamples *self, double percent)
{
    g_autoptr(GArray) values = sorted(self);
    guint rank;

    if (values->len == 0)
        return NAN;
    rank = (guint)ceil(percent / 100 * values->len);
    return g_array_index(values, double, CLAMP(rank, 1, values->len) - 1);
}

double
bench_samples_median(const BenchSamples *self)
{
    g_autoptr(GArray) values = sorted(self);
    const guint half = values->len / 2;

    if (values->len == 0)
        return NAN;
    if (values->len % 2 != 0)
        return g_array_index(values, double, half);
    return (g_array_index(values, double, half - 1) + g_array_index(values, double, half)) / 2;
}

BenchReport *
bench_report_new(void)
{
    BenchReport *self = g_new0(BenchReport, 1);

    self->results = json_array_new();
    return self;
}

void
bench_report_free(BenchReport *self)
{
    if (self == NULL)
        return;
    json_array_unref(self->results);
    g_free(self);
}

/* A number is written as it is read: four places after the point are more than it is worth. */
static void
set_number(JsonObject *object, const char *member, double value)
{
    if (!isnan(value))
        json_object_set_double_member(object, member, round(value * 10000) / 10000);
}

static void
set_spread(JsonObject *object, const BenchSamples *samples)
{
    set_number(object, "median", bench_samples_median(samples));
    set_number(object, "min", bench_samples_percentile(samples, 0));
    set_number(object, "max", bench_samples_percentile(samples, 100));
    set_number(object, "p10", bench_samples_percentile(samples, 10));
    set_number(object, "p90", bench_samples_percentile(samples, 90));
    set_number(object, "p99", bench_samples_percentile(samples, 99));
}

static void
set_absolute(JsonObject *object, const char *member, const BenchSamples *samples, const char *unit)
{
    JsonObject *child;

    if (samples == NULL)
        return;
    child = json_object_new();
    json_object_set_string_member(child, "unit", unit);
    set_spread(child, samples);
    json_object_set_object_member(object, member, child);
}

void
bench_report_add(BenchReport *self, const BenchResult *result)
{
    JsonObject *object = json_object_new();

    json_object_set_string_member(object, "name", result->name);
    set_number(object, "value", result->value);
    json_object_set_string_member(object, "unit", result->unit);
    set_number(object, "bound", result->bound);
    if (result->peer != NULL)
        json_object_set_string_member(object, "peer", result->peer);
    json_object_set_int_member(object, "runs", result->samples != NULL ? result->samples->len : 1);
    if (result->samples != NULL)
        set_spread(object, result->samples);
    set_absolute(object, "ours", result->ours, result->absolute_unit);
    set_absolute(object, "peers", result->peers, result->absolute_unit);
    json_array_add_object_element(self->results, object);
}

static double
number_of(JsonObject *object, const char *member)
{
    return object != NULL ? json_object_get_double_member_with_default(object, member, NAN) : NAN;
}

static gboolean
is_missed(JsonObject *result)
{
    const double bound = number_of(result, "bound");

    return !isnan(bound) && !(number_of(result, "value") <= bound);
}

static char *
number_text(double value, const char *none)
{
    return isnan(value) ? g_strdup(none) : g_strdup_printf("%.3f", value);
}

/* "1.234 / 1.102 s": medians of ours and of the peer's. */
static char *
absolute_text(JsonObject *result)
{
    JsonObject *ours = json_object_has_member(result, "ours")
                           ? json_object_get_object_member(result, "ours")
                           : NULL;
    JsonObject *peers = json_object_has_member(result, "peers")
                            ? json_object_get_object_member(result, "peers")
                            : NULL;
    g_autofree char *mine = number_text(number_of(ours, "median"), "-");
    g_autofree char *theirs = number_text(number_of(peers, "median"), "-");

    if (ours == NULL)
        return g_strdup("");
    return g_strdup_printf("%s / %s %s", mine, theirs, json_object_get_string_member(ours, "unit"));
}

static void
print_result(JsonObject *result)
{
    g_autofree char *value = number_text(number_of(result, "value"), "?");
    g_autofree char *bound = number_text(number_of(result, "bound"), "-");
    g_autofree char *min = number_text(number_of(result, "min"), "-");
    g_autofree char *max = number_text(number_of(result, "max"), "-");
    g_autofree char *absolute = absolute_text(result);
    const char *verdict = isnan(number_of(result, "bound")) ? ""
                          : is_missed(result)               ? "MISSED"
                                                            : "ok";

    g_print("%-38s %9s %-7s %7s %-6s %4d %9s %9s  %-22s %s\n",
            json_object_get_string_member(result, "name"), value,
            json_object_get_string_member(result, "unit"), bound, verdict,
            (int)json_object_get_int_member(result, "runs"), min, max, absolute,
            json_object_get_string_member_with_default(result, "peer", ""));
}

gboolean
bench_report_print(const BenchReport *self)
{
    gboolean good = TRUE;

    g_print("\n%-38s %9s %-7s %7s %-6s %4s %9s %9s  %-22s %s\n", "NAME", "VALUE", "UNIT", "BOUND",
            "", "RUNS", "MIN", "MAX", "MEDIANS OURS / PEER", "PEER");
    for (guint i = 0; i < json_array_get_length(self->results); i++) {
        JsonObject *result = json_array_get_object_element(self->results, i);

        print_result(result);
        good = good && !is_missed(result);
    }
    g_print("bench: %s\n", good ? "all bounds are met" : "a bound is missed");
    return good;
}

gboolean
bench_report_write(const BenchReport *self, const char *path, GError **error)
{
    g_autoptr(JsonNode) node = json_node_new(JSON_NODE_ARRAY);
    g_autoptr(JsonGenerator) generator = json_generator_new();

    json_node_set_array(node, self->results);
    json_generator_set_root(generator, node);
    json_generator_set_pretty(generator, TRUE);
    return json_generator_to_file(generator, path, error);
}
