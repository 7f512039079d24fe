/* SPDX-License-Identifier: MIT */
/* yoke: distributed structured concurrency. Includes all public headers but <yoke/testing.h>. */
#ifndef YOKE_H
#define YOKE_H

#include <yoke/actor.h>
#include <yoke/cause.h>
#include <yoke/channel.h>
#include <yoke/common.h>
#include <yoke/context.h>
#include <yoke/dump.h>
#include <yoke/error.h>
#include <yoke/event.h>
#include <yoke/instrument.h>
#include <yoke/io.h>
#include <yoke/nursery.h>
#include <yoke/runtime.h>
#include <yoke/scope.h>
#include <yoke/task.h>
#include <yoke/value.h>
#include <yoke/watch.h>

#endif
