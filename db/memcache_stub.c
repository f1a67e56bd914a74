#include "db/memcache.h"
bool memcache_library_is_safe(struct fault *f){(void)f;return true;}
bool memcache_check(const struct settings *s, struct fault *f){(void)s;(void)f;return true;}
struct memcache *memcache_open(const struct settings *s, struct fault *f){(void)s;(void)f;return (void*)1;}
void memcache_close(struct memcache *m){(void)m;}
enum memcache_result memcache_get(struct memcache *m, enum memcache_kind k,const struct digest *key, struct deadline d,struct trace *t, void *v, size_t s, size_t *l){(void)m;(void)k;(void)key;(void)d;(void)t;(void)v;(void)s;(void)l;return MEMCACHE_FAILED;}
bool memcache_put(struct memcache *m, enum memcache_kind k, const struct digest *key,struct deadline d, const void *v, size_t l, int64_t e){(void)m;(void)k;(void)key;(void)d;(void)v;(void)l;(void)e;return false;}
bool memcache_add(struct memcache *m, enum memcache_kind k, const struct digest *key,struct deadline d, const void *v, size_t l, int64_t e){(void)m;(void)k;(void)key;(void)d;(void)v;(void)l;(void)e;return false;}
bool memcache_remove(struct memcache *m, enum memcache_kind k, const struct digest *key,struct deadline d, struct fault *f){(void)m;(void)k;(void)key;(void)d;(void)f;return false;}
void memcache_report(struct memcache *m, void (*line)(void *c, const char *t),void *c){(void)m;(void)line;(void)c;}
