/* SPDX-License-Identifier: MIT */
/* yoke: distributed structured concurrency. Includes all public headers but <yoke/testing.h>. */
#ifndef YOKE_H
#define YOKE_H

#include <yoke/actor.h>
#include <yoke/broadcast.h>
#include <yoke/cause.h>
#include <yoke/channel.h>
#include <yoke/common.h>
#include <yoke/condition.h>
#include <yoke/context.h>
#include <yoke/dump.h>
#include <yoke/error.h>
#include <yoke/event.h>
#include <yoke/guest.h>
#include <yoke/handle.h>
#include <yoke/instrument.h>
#include <yoke/io.h>
#include <yoke/limiter.h>
#include <yoke/local.h>
#include <yoke/mutex.h>
#include <yoke/nursery.h>
#include <yoke/parking_lot.h>
#include <yoke/peer.h>
#include <yoke/conn.h>
#include <yoke/file.h>
#include <yoke/net.h>
#include <yoke/pipe.h>
#include <yoke/registry.h>
#include <yoke/runtime.h>
#include <yoke/scope.h>
#include <yoke/select.h>
#include <yoke/semaphore.h>
#include <yoke/subprocess.h>
#include <yoke/task.h>
#include <yoke/value.h>
#include <yoke/watch.h>

#endif
