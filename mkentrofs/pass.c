/* Items that may fail, over a pool whose items may not; see pass.h. */
#include "mkentrofs/pass.h"

#include <pthread.h>
#include <stdbool.h>

struct pass {
    entro_pass_function *function;
    void *context;
    pthread_mutex_t lock; /* protects all below */
    size_t failed_item;   /* the first that failed: its message is the one told */
    enum entro_error error;
    struct entro_message message;
};

static void run_item(void *context, size_t item, unsigned worker)
{
    struct pass *pass = context;
    pthread_mutex_lock(&pass->lock);
    bool failed = pass->error != ENTRO_OK;
    pthread_mutex_unlock(&pass->lock);
    if (failed)
        return;
    struct entro_message message = {""};
    enum entro_error error = pass->function(pass->context, item, worker, &message);
    if (!error)
        return;
    pthread_mutex_lock(&pass->lock);
    if (!pass->error || item < pass->failed_item) {
        pass->error = error;
        pass->failed_item = item;
        pass->message = message;
    }
    pthread_mutex_unlock(&pass->lock);
}

enum entro_error entro_pass_run(struct entro_pool *pool, size_t n_items, entro_pass_function *function,
                                void *context, struct entro_message *message)
{
    struct pass pass = {.function = function, .context = context};
    pthread_mutex_init(&pass.lock, NULL);
    entro_parallel_for(pool, n_items, run_item, &pass);
    pthread_mutex_destroy(&pass.lock);
    return pass.error ? entro_fail(message, pass.error, "%s", pass.message.text) : ENTRO_OK;
}
