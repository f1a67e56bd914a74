#include "db/lmdb_tree.h"

#include <string.h>
#include <unistd.h>

/* mdb.c: MDB_page, MDB_node, MDB_db and MDB_meta; the flags of pages, nodes and trees. */
enum { PAGE_BRANCH = 1, PAGE_LEAF = 2, PAGE_OVERFLOW = 4, PAGE_META = 8 };
enum { NODE_BIG = 1 }; /* the value is the number of its first overflow page */
enum { FREE_LIST_FLAGS = 0x08, TREE_FLAGS = 0xff }; /* MDB_INTEGERKEY; above: the environment's */
enum { NODE_HEAD = 8, METAS = 2, DATA_VERSION = 1 };
enum { SMALLEST_PAGE = 512, LARGEST_PAGE = 32768 };
static const uint32_t meta_magic = 0xBEEFC0DE;
static const size_t no_page = SIZE_MAX;

struct page {
    size_t number;
    uint16_t pad, flags;
    uint16_t lower, upper; /* free space; together the number of pages where one overflows */
    uint16_t nodes[];
};

struct tree_root {
    uint32_t pad;
    uint16_t flags, depth;
    size_t branches, leaves, overflows, entries, root;
};

struct meta {
    unsigned char head[sizeof(struct page)];
    uint32_t magic, version;
    void *address;
    size_t map_bytes;
    struct tree_root free_list, entries;
    size_t last, txnid;
};

struct node {
    uint32_t data_length; /* leaf */
    size_t child;         /* branch */
    uint16_t flags, key_length;
    const unsigned char *key, *data;
};

static const struct page *page_at(const struct lmdb_tree *tree, size_t number)
{
    return number < METAS || number > tree->last
               ? NULL
               : (const struct page *)(tree->map + number * tree->page_bytes);
}

static unsigned page_count(const struct page *page)
{
    return (page->lower - (unsigned)sizeof *page) / 2;
}

static struct node page_node(const struct page *page, unsigned index)
{
    const unsigned char *at = (const unsigned char *)page + page->nodes[index];
    uint16_t half[4]; /* the two halves of a length are in the machine's order, like all else */
    memcpy(half, at, sizeof half);
    bool little = __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__;
    uint32_t low = little ? half[0] : half[1], high = little ? half[1] : half[0];
    struct node node = {.data_length = low | high << 16, .flags = half[2], .key_length = half[3]};
    node.child = (size_t)(low | (uint64_t)high << 16 | (uint64_t)half[2] << 32);
    node.key = at + NODE_HEAD;
    node.data = node.key + node.key_length;
    return node;
}

/* Are its lengths and offsets possible? Only then may its nodes be looked at. */
static bool page_is_sound(const struct lmdb_tree *tree, size_t number, unsigned kind)
{
    const struct page *page = page_at(tree, number);
    if (!page || page->number != number || page->flags != kind || page->lower % 2 != 0 ||
        page->lower < sizeof *page + 2 || page->lower > page->upper ||
        page->upper > tree->page_bytes)
        return false;
    size_t used = 0;
    for (unsigned i = 0; i < page_count(page); i++) {
        size_t at = page->nodes[i];
        if (at < page->upper || at % 2 != 0 || at + NODE_HEAD > tree->page_bytes)
            return false;
        struct node node = page_node(page, i);
        size_t length = NODE_HEAD + (size_t)node.key_length;
        if (kind == PAGE_LEAF)
            length += node.flags & NODE_BIG ? sizeof(size_t) : node.data_length;
        if (at + length > tree->page_bytes)
            return false;
        used += length + length % 2;
    }
    return used <= tree->page_bytes - page->upper;
}

/* Page numbers, the count first, from high to low. */
static bool free_list_is_sound(const struct lmdb_tree *tree, const struct page *leaf,
                               unsigned index)
{
    struct node node = page_node(leaf, index);
    const unsigned char *list = node.data;
    if (node.key_length != sizeof(size_t) || (node.flags & ~NODE_BIG))
        return false;
    if (node.flags & NODE_BIG) {
        size_t number;
        memcpy(&number, node.data, sizeof number);
        const struct page *page = page_at(tree, number);
        if (!page || page->number != number || page->flags != PAGE_OVERFLOW)
            return false;
        uint32_t pages;
        memcpy(&pages, &page->lower, sizeof pages);
        if (pages > tree->last - number + 1 ||
            sizeof *page + node.data_length > pages * tree->page_bytes)
            return false;
        list = (const unsigned char *)(page + 1);
    }
    size_t count, above = tree->last + 1;
    if (node.data_length < sizeof count)
        return false;
    memcpy(&count, list, sizeof count);
    if (count > node.data_length / sizeof count - 1)
        return false;
    for (size_t i = 1, number; i <= count; i++, above = number) {
        memcpy(&number, list + i * sizeof number, sizeof number);
        if (number < METAS || number >= above)
            return false;
    }
    return true;
}

/* `left` bounds what a tree that contains itself can cost. */
static bool free_tree_is_sound(const struct lmdb_tree *tree, size_t number, unsigned depth,
                               size_t *left)
{
    if ((*left)-- == 0 || !page_is_sound(tree, number, depth > 1 ? PAGE_BRANCH : PAGE_LEAF))
        return false;
    const struct page *page = page_at(tree, number);
    for (unsigned i = 0; i < page_count(page); i++)
        if (depth > 1 ? !free_tree_is_sound(tree, page_node(page, i).child, depth - 1, left)
                      : !free_list_is_sound(tree, page, i))
            return false;
    return true;
}

static bool root_is_sound(const struct tree_root *root, unsigned flags)
{
    return (root->flags & TREE_FLAGS) == flags && root->depth <= LMDB_TREE_DEPTH &&
           (root->depth == 0) == (root->root == no_page);
}

static bool meta_is_sound(const struct meta *meta, size_t page_bytes, size_t map_bytes)
{
    const struct page *page = (const struct page *)meta->head;
    return page->flags == PAGE_META && meta->magic == meta_magic &&
           meta->free_list.pad == page_bytes && meta->last >= METAS - 1 &&
           meta->last < map_bytes / page_bytes &&
           root_is_sound(&meta->free_list, FREE_LIST_FLAGS) && root_is_sound(&meta->entries, 0);
}

bool lmdb_tree_head(int fd, size_t map_bytes)
{
    struct meta metas[METAS];
    if (pread(fd, &metas[0], sizeof metas[0], 0) != sizeof metas[0])
        return false;
    size_t page_bytes = metas[0].free_list.pad;
    if (metas[0].magic == meta_magic && metas[0].version != DATA_VERSION)
        return true;
    return page_bytes >= SMALLEST_PAGE && page_bytes <= LARGEST_PAGE &&
           (page_bytes & (page_bytes - 1)) == 0 &&
           pread(fd, &metas[1], sizeof metas[1], (off_t)page_bytes) == sizeof metas[1] &&
           metas[1].version == DATA_VERSION && meta_is_sound(&metas[0], page_bytes, map_bytes) &&
           meta_is_sound(&metas[1], page_bytes, map_bytes);
}

bool lmdb_tree_begin(struct lmdb_tree *tree, size_t txnid)
{
    /* LMDB writes its two meta pages in turn. */
    const struct meta *meta = (const struct meta *)(tree->map + (txnid & 1) * tree->page_bytes);
    tree->known = meta->magic != meta_magic || meta->version == DATA_VERSION;
    if (!tree->known)
        return true;
    if (meta->txnid != txnid || !meta_is_sound(meta, tree->page_bytes, tree->map_bytes))
        return false;
    tree->last = meta->last;
    tree->root = meta->entries.root;
    tree->depth = meta->entries.depth;
    memset(tree->sound, 0, sizeof tree->sound);
    size_t left = tree->last + 1;
    return meta->free_list.depth == 0 ||
           free_tree_is_sound(tree, meta->free_list.root, meta->free_list.depth, &left);
}

/* Of our entries: the key is a digest (the first one of a branch page stands for "anything less"),
 * the value is small. */
static bool entries_are_sound(const struct page *page, unsigned kind)
{
    for (unsigned i = 0; i < page_count(page); i++) {
        struct node node = page_node(page, i);
        bool whole = node.key_length == sizeof(struct digest);
        if (kind == PAGE_BRANCH ? !whole && (i > 0 || node.key_length != 0)
                                : !whole || node.flags != 0 || node.data_length > LMDB_VALUE_MAX)
            return false;
    }
    return true;
}

static bool entry_page_is_sound(const struct lmdb_tree *tree, size_t number, unsigned kind)
{
    return page_is_sound(tree, number, kind) && entries_are_sound(page_at(tree, number), kind);
}

/* The last child that does not begin after the key. */
static unsigned child_for(const struct page *page, const struct digest *key)
{
    unsigned low = 0, high = page_count(page);
    while (high - low > 1) {
        unsigned middle = (low + high) / 2;
        if (memcmp(page_node(page, middle).key, key->bytes, sizeof key->bytes) <= 0)
            low = middle;
        else
            high = middle;
    }
    return low;
}

bool lmdb_tree_check(struct lmdb_tree *tree, const struct digest *key, bool neighbours)
{
    size_t number = tree->root;
    for (unsigned level = 0; tree->known && level < tree->depth; level++) {
        unsigned kind = level + 1 < tree->depth ? PAGE_BRANCH : PAGE_LEAF;
        if (number != tree->sound[level] && !entry_page_is_sound(tree, number, kind))
            return false;
        bool seen = number == tree->sound[level];
        tree->sound[level] = number;
        if (kind == PAGE_LEAF)
            break;
        const struct page *page = page_at(tree, number);
        unsigned child = child_for(page, key);
        kind = level + 2 < tree->depth ? PAGE_BRANCH : PAGE_LEAF;
        number = page_node(page, child).child;
        if (!neighbours || (seen && number == tree->sound[level + 1]))
            continue;
        for (unsigned i = child ? child - 1 : 0; i <= child + 1 && i < page_count(page); i++)
            if (!entry_page_is_sound(tree, page_node(page, i).child, kind))
                return false;
    }
    return true;
}
