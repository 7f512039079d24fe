/* SPDX-License-Identifier: MIT */
/*
 * The actor layer inside the library. An actor is what hangs in a runtime's YK_SLOT_ACTOR; a portal
 * is a link to a peer with the dialogs that run over it; a dialog is one side of a context.
 *
 * Who owns what: an actor nursery (or, for the parent, the actor) holds a reference to its portal,
 * each dialog holds another. The opener's dialog belongs to its yoke_context, the endpoint's to the
 * task that serves it. All of it is touched by the runtime's thread alone.
 */
#ifndef YK_ACTOR_ACTOR_H
#define YK_ACTOR_ACTOR_H

#include <yoke/actor.h>
#include <yoke/context.h>
#include <yoke/event.h>
#include <yoke/peer.h>

#include "link/link.h"
#include "link/transport.h"
#include "task/task.h"

/* The namespace of what a runtime itself serves, as in tractor: never by patterns. */
#define YK_RUNTIME_NS "self:"

/* The cid of a dialog's cancel request is its own with this behind it, so that the ack finds it. */
#define YK_REQUEST_SUFFIX "/c"

/* Start.pld_spec where there is nothing to say; as plain peers write it. */
#define YK_SPEC_TEXT_ANY "typing.Any"

/* What a small item has room for, and how many times that doubles for those that are kept. */
enum { YK_ITEM_ROOM = 128, YK_ITEM_CLASSES = 10 };

enum { YK_CID_SIZE = 40, YK_ENDPOINT_MAX = 128, YK_DIALOG_BUCKETS = 64 };

enum yk_spec_of {
    YK_SPEC_ARGS,
    YK_SPEC_STARTED,
    YK_SPEC_IN,
    YK_SPEC_OUT,
    YK_SPEC_RESULT,
    YK_SPECS,
};
struct yk_registry;
struct yk_registrar;

struct yk_actor {
    struct yoke_runtime *runtime;
    struct yoke_portal *parent; /* NULL at the root */
    char *expose;               /* patterns, NULL: nothing */
    int32_t parent_pid;
    struct yk_list resources;       /* that its tasks share; resource.c */
    struct yk_list openers;         /* dialogs that this actor has opened */
    bool orphaned;                  /* the parent is gone: this process has YK_ORPHAN_NS left */
    struct yk_list listenings;      /* where it listens, in that order */
    struct yk_list dialled;         /* portals by yoke_portal_open whose links stand */
    struct yk_list links;           /* portals whose heartbeat is watched */
    struct yk_list beat_wait;       /* the heartbeat's task, until the bound changes */
    struct yk_registry *registry;   /* it is a registrar; NULL: it is not */
    struct yk_registrar *registrar; /* where its registrar is; NULL: it has none */
    bool beating;                   /* that task runs */
    int64_t silence_ns;             /* 0: the default; negative: never */
    size_t serving;                 /* endpoints that run */
    struct yk_list plain_requests;  /* to cancel, of plain peers; plain.c */
    struct yoke_value *plain_vars;  /* the tree's, of a plain parent; owned, or NULL */
};

/* Where an actor listens. peer.c */
struct yk_listens {
    struct yk_list in_actor;
    struct yk_actor *actor;
    struct yoke_listener *listener;
    struct yk_place place;
    char address[YOKE_ADDRESS_MAX];
    struct yoke_actor_listen_opts opts;
    unsigned greeting; /* peers that have not said who they are */
};

struct yoke_portal {
    size_t refs;
    struct yk_actor *actor;
    struct yk_link link;
    struct yoke_actor_id id; /* of the peer; known once `up` */
    bool up;                 /* its Aid has come */
    bool ended;              /* its reader has left */
    int64_t version;         /* of the extensions it speaks; 0: a plain peer */
    bool probing;            /* this side only looks whether the peer is there */
    bool is_probe;           /* it only looks whether we are there */
    bool is_registrar;
    struct yk_place place; /* where the peer listens, if that is known */
    char address[YOKE_ADDRESS_MAX];
    struct yoke_error *farewell; /* an Error of no dialog: why the peer ends the link; owned */
    struct yk_list in_dialled;
    int64_t greeting_ns;           /* bound until it is up */
    unsigned *greeting;            /* its listener's count, while it is counted there */
    size_t opens;                  /* by yoke_portal_open, and not closed yet */
    struct yoke_scope *link_scope; /* of a peer link's tasks, while they run */
    bool ran;                      /* they did, or do */
    uint64_t heard;                /* messages received */
    size_t answers;                /* bytes queued in answer to the peer while it does not read */
    struct yk_list in_links;       /* the heartbeat's */
    struct yk_beat_state {
        uint64_t heard; /* when it was last looked at */
        size_t partial;
        unsigned silent;                          /* looks in a row that found nothing new */
        int64_t next_ns;                          /* when it is to be looked at */
        int64_t silence_ns;                       /* of this link; 0: the actor's */
        void (*lost)(struct yoke_portal *portal); /* too many of them */
    } beat;
    struct yoke_error *lost; /* why nothing comes any more; shared by all who wait */
    struct yk_list dialogs[YK_DIALOG_BUCKETS];
    struct yk_dialog *recent; /* found last, or NULL */
    struct yk_list waiters;   /* for `up`, and for dialogs to end */
    /*
     * Not NULL: to a child of ours. Its front is what programs hold, and has no link; `lost` there
     * is the end of the last incarnation. Each of these has a portal of its own, with the link.
     */
    struct yk_actor_child *child;
    struct yk_incarnation *incarnation; /* not NULL: of this incarnation of a child of ours */
    bool end_expected;                  /* this actor asked it to end */
    bool end_told;                      /* a context has already told of its cancellation */
    int64_t plain_told_ns;              /* when the last Error was sent to a plain peer; 0: never */
};

/* A value that was received, in the order of receipt, with what it borrows. */
struct yk_item {
    struct yk_list node;
    struct yoke_value value;
    struct yk_lease lease; /* on shared memory that it borrows */
    bool large;            /* one of those of which fewer may be sent ahead */
    unsigned room_class;   /* bytes of memory: YK_ITEM_ROOM << room_class, or more in the last */
    _Alignas(struct yoke_value) char memory[];
};

struct yk_dialog {
    struct yk_list in_portal;
    struct yk_list in_openers;
    struct yoke_portal *portal;
    char cid[YK_CID_SIZE];
    char endpoint[YK_ENDPOINT_MAX];
    bool opener;
    struct yoke_context *ctx; /* while its scope is open */
    struct yk_list waiters;   /* for any change of state below */
    struct yk_list receivers;
    struct yk_list senders;
    struct yk_list items;
    size_t items_n;
    size_t large_n;                         /* of those */
    struct yk_item *lent;                   /* what the last receive handed out */
    struct yk_list spares[YK_ITEM_CLASSES]; /* items for use again, by their room */
    size_t spare_bytes;
    bool started;      /* Started came, or was sent */
    bool peer_stopped; /* the peer has ended its direction */
    bool stopped;      /* this side has */
    bool finished;     /* the peer's terminal message came, or the peer is lost */
    bool returned;     /* it was Return */
    bool draining;     /* close waits: values are dropped */
    bool streamed;     /* this side has sent or received a value */
    bool generator;    /* the peer only streams: its Stop is its end */
    struct yoke_value *first;
    struct yoke_value *result;  /* opener: received; endpoint: to be sent */
    struct yoke_error *error;   /* the peer's, or what it sent was refused with; owned */
    struct yk_fanout *fanout;   /* its local consumers, if there are several; fanout.c */
    bool allow_overruns;        /* of a peer without credit */
    bool overrun;               /* it was told that it sends too much */
    uint64_t lost;              /* its values that were dropped */
    int64_t credit;             /* values that may still be sent */
    int64_t peer_window;        /* values that the peer lets this side be ahead by */
    unsigned window;            /* what this side grants */
    bool growing;               /* it may grow */
    unsigned consumed;          /* received values not granted anew yet */
    struct yoke_cause *request; /* opener: our own cancel request */
    bool cancel_acked;
    struct yoke_cause *pending_cancel; /* endpoint: a request that came before its task ran */
    int64_t teardown_ns;
    int64_t deadline_ns; /* opener: the one that its peer knows; endpoint: its own; or NEVER */
    struct yoke_cause *deadline_because; /* opener: as told; endpoint: until its scope is open */
    int64_t wanted_ns; /* endpoint: when who cancelled it stops waiting for its end; or NEVER */
    const struct yoke_endpoint *serves; /* endpoint */
    const struct yk_specs *specs;       /* of the endpoint as this program knows it; or NULL */
    struct yk_specs *peer_specs;        /* endpoint: what its opener expects, if that differs */
    struct yoke_value *args;            /* endpoint */
};

/* The actor of a runtime, made on first use; NULL with an error raised: no memory. actor.c */
struct yk_actor *yk_actor_of(struct yoke_runtime *runtime);
void yk_cid_new(char *cid);

/* Endpoints by name. endpoint.c */
const struct yoke_endpoint *yk_endpoint_find(const char *ns, const char *func);
bool yk_endpoint_exposed(const char *patterns, const char *name);

/* Payload specs. specs.c; NULL: nothing is said of any payload */
struct yk_specs *yk_specs_of_endpoint(const struct yoke_endpoint *endpoint);
/* Of a text that came with Start, which is borrowed. 0, or an error raised. */
int yk_specs_received(const char *text, struct yk_specs **ret_specs);
void yk_specs_free(struct yk_specs *specs);
const char *yk_specs_text(const struct yk_specs *specs); /* as it travels; "" if it says nothing */
/* 0, or "yoke.MsgTypeError" raised. */
int yk_specs_check_sent(const struct yk_dialog *dialog, enum yk_spec_of which,
                        struct yoke_value value);
int yk_specs_check_received(const struct yk_specs *specs, const char *endpoint,
                            const struct yoke_portal *portal, enum yk_spec_of which,
                            struct yoke_value value);

/* Portals. portal.c */
struct yoke_portal *yk_portal_new(struct yk_actor *actor); /* NULL with an error raised */
struct yoke_portal *yk_portal_ref(struct yoke_portal *portal);
void yk_portal_unref(struct yoke_portal *portal); /* the last one; its link is fini'ed before */

/*
 * Reads and handles messages until the link ends. 0: the peer ended or broke it; YOKE_CANCELLED;
 * another failure: the peer broke the protocol, error raised.
 */
int yk_portal_read(struct yoke_portal *portal);

void yk_portal_changed(struct yoke_portal *portal); /* wakes who waits for its state */

/* Sends this actor's Aid. */
int yk_portal_greet(struct yoke_portal *portal);

/* Reads the peer's Aid, which must be its first message. 0; YOKE_CANCELLED; another failure. */
int yk_portal_meet(struct yoke_portal *portal);

/* Tells the peer why this side ends the link, by an Error of no dialog. Borrowed. */
void yk_portal_farewell(struct yoke_portal *portal, const struct yoke_error *error);

/* Waits for the peer's Aid. 0; YOKE_CANCELLED; -EPIPE (not raised) if the link ended before. */
int yk_portal_wait_up(struct yoke_portal *portal);

/*
 * The portal that has the link: for the front of a child that of its incarnation, once it serves.
 * 0; YOKE_CANCELLED; what a child that will not be up again has ended with. Borrowed until the next
 * checkpoint. child.c
 */
int yk_portal_reach(struct yoke_portal *portal, struct yoke_portal **ret_peer);

/* Nothing will come any more: ends all dialogs with this error. Takes over the reference. Once. */
void yk_portal_lost(struct yoke_portal *portal, struct yoke_error *error);

/* Sends, and on failure of the link does nothing: its reader will tell. Errors of encoding are
 * raised. */
int yk_portal_send(struct yoke_portal *portal, const struct yk_message *message);

/* Sends a request to cancel the dialog `target_cid`, or with NULL the whole actor. */
void yk_portal_send_cancel(struct yoke_portal *portal, const char *cid, const char *target_cid,
                           const struct yoke_cause *cause);
/* The same, and says for how long this side waits for the end; 0: not said. */
void yk_portal_send_cancel_within(struct yoke_portal *portal, const char *cid,
                                  const char *target_cid, const struct yoke_cause *cause,
                                  int64_t budget_ns);

/* A request to cancel has come: does so, without acknowledging it. */
void yk_portal_cancelled(struct yoke_portal *portal, const struct yk_cancel *cancel);

/* Whether some context of ours into that actor is being cancelled and has not ended yet. */
bool yk_portal_contexts_ending(const struct yoke_portal *portal);

/* Whether some context of this side over it is open. */
bool yk_portal_in_use(const struct yoke_portal *portal);

/* Peers. peer.c */
/* A child's SpawnSpec has told it where to listen: does so, and tells the parent. */
/* Whether an actor is there: connects, greets, hangs up. 0; YOKE_CANCELLED; as yoke_portal_open. */
int yk_peer_probe(struct yk_actor *actor, const struct yk_place *place, int64_t timeout_ns);
int yk_peer_listen_as_told(struct yk_actor *actor, const struct yk_spawn_spec *spec);

/* Watches for signs of life on a link, until unwatch. heartbeat.c */
void yk_beat_watch(struct yoke_portal *portal, int64_t silence_ns,
                   void (*lost)(struct yoke_portal *portal));
void yk_beat_unwatch(struct yoke_portal *portal);

/* A link was lost by which actors had registered. registry.c */
void yk_registry_lost(struct yk_registry *registry, const struct yoke_portal *portal);

/* Dialogs. dialog.c */
struct yk_dialog *yk_dialog_new(struct yoke_portal *portal, const char *cid); /* or NULL, raised */
void yk_dialog_free(struct yk_dialog *dialog);
struct yk_dialog *yk_dialog_find(struct yoke_portal *portal, const char *cid);
void yk_dialog_handle(struct yk_dialog *dialog, const struct yk_message *message);
/* The peer's end: a shared or own error, taken over; NULL: it returned. */
void yk_dialog_finish(struct yk_dialog *dialog, struct yoke_error *error,
                      enum yoke_cause_kind kind);
void yk_dialog_changed(struct yk_dialog *dialog); /* wakes who waits for its state */
/*
 * Ends this side's direction of the stream, when the task of this side ends. Plain peers are told
 * only of a stream that was used, and not in answer to their own Stop. 0, or raised.
 */
int yk_dialog_leave_stream(struct yk_dialog *dialog);
/*
 * Received values are dropped from now on, and the peer may send without end. 0; -ENOMEM, raised,
 * if that could not be told to it, once.
 */
int yk_dialog_drain(struct yk_dialog *dialog);

/*
 * Time budgets: the opener's deadline bounds the endpoint. budget.c
 */
/* Fills in the budget of a dialog that is being opened in `scope`. */
void yk_budget_begin(struct yk_dialog *dialog, struct yoke_scope *scope, struct yk_arena *arena,
                     struct yk_start *start);
/* A budget has come for an endpoint; 0: none. Applied once its scope is open. */
void yk_budget_received(struct yk_dialog *dialog, int64_t budget_ns, struct yoke_value cause);
void yk_budget_apply(struct yk_dialog *dialog);
/* A peer ended for this side's deadline: notices that it has expired here, too. */
void yk_budget_expire(const struct yk_dialog *dialog);
/* How long to wait for the end of a cancelled peer. */
int64_t yk_budget_teardown(const struct yk_dialog *dialog);
/* The time at which a budget that comes now is used up; YOKE_NEVER if that is too far. */
int64_t yk_budget_end(const struct yoke_portal *portal, int64_t budget_ns);
void yk_budget_moved(struct yoke_runtime *runtime);

/* Incoming Start, and the task that serves it. serve.c */
void yk_serve_start(struct yoke_portal *portal, const struct yk_start *start);

/* What receive does, without asking whether there are subscriptions. */
int yk_dialog_receive(struct yk_dialog *dialog, struct yk_task *task, struct yoke_value *ret_value);

/* Tells a peer without credit that it sends too much. relay.c */
void yk_relay_overrun(struct yk_dialog *dialog);

/* Errors as messages. relay.c. Takes over `error` and settles it: it is the peer's now. */
void yk_relay_error(struct yoke_portal *portal, const char *cid, struct yoke_error *error);
struct yoke_error *yk_relay_received(const struct yoke_portal *portal,
                                     const struct yk_error_message *message); /* never NULL */
/* A Cancelled that leaves an actor: what its opener gets. Takes over the reference. */
struct yoke_error *yk_relay_cancelled(struct yoke_error *cancelled, const char *endpoint);

/*
 * Opening in two steps: 0, and it is open but for the peer's word that it has started, or a failure
 * and nothing is open; then the wait for that word, after which it is closed in any case. context.c
 */
int yk_context_begin(const struct yoke_site *site, struct yoke_context *ctx,
                     struct yoke_portal *portal, const char *endpoint, struct yoke_value args,
                     const struct yoke_context_opts *opts);
int yk_context_wait(struct yoke_context *ctx);
/* Asks the peer to end since its opener's body failed. */
void yk_context_leave(struct yoke_context *ctx, const struct yoke_error *failure,
                      const struct yoke_site *site);

/* The outcome of a dialog, with the result taken out of it; NULL without memory. context.c */
struct yoke_outcome *yk_outcome_new(struct yk_dialog *dialog);

#endif
