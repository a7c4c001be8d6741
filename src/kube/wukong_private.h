/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "kube/object.h"
#include "kube/wukong.h"

/* spec.lifecycleAction. @intent is cleared; a wrong one is in its error. */
void wk_wukong_read_intent(JsonObject *spec, WkIntent *intent);

#define WK_WUKONG_NAME_MAX       WK_OBJECT_NAME_MAX
#define WK_WUKONG_REQUEST_ID_MAX 253
#define WK_WUKONG_TEXT_MAX       (16 * 1024) /* of the annotation, and of an action */

/* Known members of lifecycleState, NULL-ended. */
extern const char *const wk_wukong_state_members[];

/* Names of conditions by WkConditionType. */
extern const char *const wk_wukong_condition_names[WK_CONDITION_TYPES];
