/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <json-glib/json-glib.h>

#include "model/facts.h"

G_BEGIN_DECLS

/*
 * What the agent and a helper say to each other: JSON, one object a line.
 *   {"id":7,"call":"look","domain":"ns_vm"}
 *   {"id":7,"result":{"power":"running",...}}
 *   {"id":7,"error":{"code":3,"reason":"NoSpace","message":"..."}}
 * Answers come in any order. A helper that can't start says so with id 0 and ends.
 *
 * Both ends read strictly, since neither trusts the other: what is not as written here is an error.
 * Pure; any thread.
 */
typedef enum {
    WK_HELPER_PING, /* answered at once, whatever else is going on */
    WK_HELPER_LOOK,
    WK_HELPER_LOOK_BRIEF,
    WK_HELPER_AWAIT_LOADED, /* LOOK_BRIEF once it is loaded or that failed, or after a while */
    WK_HELPER_FACTS,
    WK_HELPER_SUSPEND,
    WK_HELPER_RESUME,
    WK_HELPER_DESTROY,
    WK_HELPER_SHUTDOWN,
    WK_HELPER_SAVE,
    WK_HELPER_SAVE_REMOVE,
    WK_HELPER_SAVE_SET_PAUSED,
    WK_HELPER_SET_OP, /* @text: the op */
    WK_HELPER_ABORT_JOB,
    WK_HELPER_PROGRESS,
    WK_HELPER_SYNC_TIME,
    WK_HELPER_MAKE_PERSISTENT,
    WK_HELPER_CHECK_STARTABLE, /* @text: XML */
    WK_HELPER_READ_IMAGE,      /* @text: XML of an image; no libvirt needed */
    WK_HELPER_REWRITE_IMAGE,   /* the same; @from, @to: uids of VMIs */
#ifdef WK_FAILPOINTS
    WK_HELPER_PROBE, /* @text: what to try; "refused", or what came of it */
#endif
} WkHelperMethod;
#ifdef WK_FAILPOINTS
#define WK_HELPER_METHODS 21
#else
#define WK_HELPER_METHODS 20
#endif

/* The XML of an image is 1 MiB at most (ledger-protocol.md, "Header"), and no character of it takes
 * more than two in JSON; and what is around it. */
#define WK_HELPER_XML_MAX  (1024 * 1024)
#define WK_HELPER_LINE_MAX (2 * WK_HELPER_XML_MAX + 4096)

/* How long a helper keeps its answer back at most: what asks has a cancel to see to. */
#define WK_HELPER_AWAIT_MS 250

typedef struct {
    const char *name;
    /* Until when a helper must have answered. libvirt itself waits up to 30 s for another job to
     * end before it gives up. 0: for as long as it takes, while pings are answered. */
    guint deadline_ms;
    gsize answer_max; /* bytes of the answer's line */
    gboolean libvirt; /* needs a connection */
} WkHelperKind;

/* Returns: (transfer none): @method's. */
const WkHelperKind *wk_helper_kind(WkHelperMethod method);

/* Members that the method has no use for are NULL. */
typedef struct {
    WkHelperMethod method;
    const char *domain; /* the domain's name in the pod */
    const char *text;
    const char *from;
    const char *to;
} WkHelperRequest;

/* Returns: (transfer full): the line, with its end; NULL with WK_ERROR_CORRUPT when a text is no
 * UTF-8 or too long: it came from an image. */
char *wk_helper_request_format(guint64 id, const WkHelperRequest *request, GError **error);

/* The helper's side. @request's strings live in the object.
 * Returns: (transfer full): or NULL with WK_ERROR_INVALID. */
JsonObject *wk_helper_request_parse(const char *line, gsize length, guint64 *id,
                                    WkHelperRequest *request, GError **error);

/* Returns: (transfer full): the line, with its end. @result may be NULL: nothing to say. */
char *wk_helper_result_format(guint64 id, JsonObject *result);
char *wk_helper_error_format(guint64 id, const GError *failed);

/* The agent's side. @failed (transfer full): the error that it carries, NULL for a result. Its
 * text is bounded and printable, its reason one that is known here.
 * Returns: (transfer full): the result, empty when it is an error; NULL with WK_ERROR_INVALID. */
JsonObject *wk_helper_answer_parse(const char *line, gsize length, guint64 *id, GError **failed,
                                   GError **error);

/* The results that are more than "done"; the writers are (transfer full). Readers fail with
 * WK_ERROR_UNAVAILABLE: a helper that says what can't be is no better than none. */
JsonObject *wk_helper_write_look(const WkLook *look);
gboolean wk_helper_read_look(JsonObject *result, WkLook *look, GError **error);
JsonObject *wk_helper_write_facts(const WkFacts *facts);
WkFacts *wk_helper_read_facts(JsonObject *result, GError **error); /* (transfer full) */
JsonObject *wk_helper_write_progress(guint64 done, guint64 total);
gboolean wk_helper_read_progress(JsonObject *result, guint64 *done, guint64 *total, GError **error);
/* @op may be NULL. */
JsonObject *wk_helper_write_image(const char *op, const WkFacts *facts);
gboolean wk_helper_read_image(JsonObject *result, char **op, WkFacts **facts, GError **error);
JsonObject *wk_helper_write_text(const char *text);
char *wk_helper_read_text(JsonObject *result, GError **error); /* (transfer full) */

G_END_DECLS
