/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "base/steps.h"

static const struct {
    const char *name;
    const char *text;
} steps[] = {
#define WK_STEP_ROW(symbol, name, text) { name, text },
    WK_STEPS(WK_STEP_ROW)
#undef WK_STEP_ROW
};

const char *
wk_step_name(WkStep step)
{
    return step >= 0 && step < WK_STEP_COUNT ? steps[step].name : "";
}

const char *
wk_step_text(WkStep step)
{
    return step >= 0 && step < WK_STEP_COUNT ? steps[step].text : "";
}
