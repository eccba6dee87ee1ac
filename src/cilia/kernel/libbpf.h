/* What we call of libbpf 1.1 and of libc. `python tools/libbpf.py` makes _libbpf.py of it. */

typedef uint8_t __u8; typedef uint16_t __u16; typedef uint32_t __u32; typedef uint64_t __u64;

int libbpf_set_strict_mode(int mode);
void *libbpf_set_print(int (*fn)(int level, const char *format, void *args));

struct bpf_object *bpf_object__open_file(const char *path, const void *opts);
int bpf_object__load(struct bpf_object *obj);
void bpf_object__close(struct bpf_object *obj);
struct bpf_program *bpf_object__next_program(struct bpf_object *obj, struct bpf_program *prog);
struct bpf_map *bpf_object__next_map(struct bpf_object *obj, struct bpf_map *map);

const char *bpf_program__name(struct bpf_program *prog);
int bpf_program__fd(struct bpf_program *prog);
int bpf_program__set_autoload(struct bpf_program *prog, _Bool autoload);
int bpf_program__set_log_buf(struct bpf_program *prog, char *buf, size_t size);
int bpf_program__set_log_level(struct bpf_program *prog, __u32 level);

const char *bpf_map__name(struct bpf_map *map);
int bpf_map__fd(struct bpf_map *map);
int bpf_map__type(struct bpf_map *map);
int bpf_map__set_max_entries(struct bpf_map *map, __u32 n);
__u32 bpf_map__max_entries(struct bpf_map *map);
__u32 bpf_map__key_size(struct bpf_map *map);
__u32 bpf_map__value_size(struct bpf_map *map);
__u32 bpf_map__map_flags(struct bpf_map *map);
_Bool bpf_map__is_internal(struct bpf_map *map);
int bpf_map__reuse_fd(struct bpf_map *map, int fd);
int bpf_map__set_inner_map_fd(struct bpf_map *map, int fd);
void *bpf_map__initial_value(struct bpf_map *map, size_t *size);
int bpf_map__set_initial_value(struct bpf_map *map, const void *data, size_t size);

struct bpf_map_create_opts {
    size_t sz; __u32 btf_fd; __u32 btf_key_type_id; __u32 btf_value_type_id;
    __u32 btf_vmlinux_value_type_id; __u32 inner_map_fd; __u32 map_flags; __u64 map_extra;
    __u32 numa_node; __u32 map_ifindex;
};
int bpf_map_create(int type, const char *name, __u32 key_size, __u32 value_size,
                   __u32 max_entries, const struct bpf_map_create_opts *opts);
int bpf_map_lookup_elem(int fd, const void *key, void *value);
int bpf_map_update_elem(int fd, const void *key, const void *value, __u64 flags);
int bpf_map_delete_elem(int fd, const void *key);
int bpf_map_get_next_key(int fd, const void *key, void *next_key);
struct bpf_map_batch_opts { size_t sz; __u64 elem_flags; __u64 flags; };
int bpf_map_lookup_batch(int fd, void *in_batch, void *out_batch, void *keys, void *values,
                         __u32 *count, const struct bpf_map_batch_opts *opts);
int bpf_map_update_batch(int fd, const void *keys, const void *values, __u32 *count,
                         const struct bpf_map_batch_opts *opts);
int bpf_map_delete_batch(int fd, const void *keys, __u32 *count,
                         const struct bpf_map_batch_opts *opts);

int bpf_obj_pin(int fd, const char *path);
int bpf_obj_get(const char *path);
int bpf_obj_get_info_by_fd(int fd, void *info, __u32 *size);

struct bpf_map_info {
    __u32 type; __u32 id; __u32 key_size; __u32 value_size; __u32 max_entries; __u32 map_flags;
    char name[16]; __u32 ifindex; __u32 btf_vmlinux_value_type_id; __u64 netns_dev;
    __u64 netns_ino; __u32 btf_id; __u32 btf_key_type_id; __u32 btf_value_type_id; __u32 pad;
    __u64 map_extra;
};
struct bpf_prog_info {
    __u32 type; __u32 id; __u8 tag[8]; __u32 jited_prog_len; __u32 xlated_prog_len;
    __u64 jited_prog_insns; __u64 xlated_prog_insns; __u64 load_time; __u32 created_by_uid;
    __u32 nr_map_ids; __u64 map_ids; char name[16]; __u32 ifindex; __u32 flags;
    __u64 netns_dev; __u64 netns_ino; __u32 nr_jited_ksyms; __u32 nr_jited_func_lens;
    __u64 jited_ksyms; __u64 jited_func_lens; __u32 btf_id; __u32 func_info_rec_size;
    __u64 func_info; __u32 nr_func_info; __u32 nr_line_info; __u64 line_info;
    __u64 jited_line_info; __u32 nr_jited_line_info; __u32 line_info_rec_size;
    __u32 jited_line_info_rec_size; __u32 nr_prog_tags; __u64 prog_tags; __u64 run_time_ns;
    __u64 run_cnt; __u64 recursion_misses; __u32 verified_insns; __u32 attach_btf_obj_id;
    __u32 attach_btf_id; __u32 pad;
};
struct bpf_link_info {
    __u32 type; __u32 id; __u32 prog_id; __u32 pad;
    union {
        struct { __u32 ifindex; __u32 attach_type; } tcx;
        struct { __u64 cgroup_id; __u32 attach_type; } cgroup;
        __u8 room[128];
    };
};

int bpf_link_create(int prog_fd, int target_fd, int attach_type, const void *opts);
struct bpf_link_update_opts { size_t sz; __u32 flags; __u32 old_prog_fd; };
int bpf_link_update(int link_fd, int new_prog_fd, const struct bpf_link_update_opts *opts);
int bpf_link_detach(int link_fd);

struct bpf_tc_hook { size_t sz; int ifindex; int attach_point; __u32 parent; };
struct bpf_tc_opts {
    size_t sz; int prog_fd; __u32 flags; __u32 prog_id; __u32 handle; __u32 priority;
};
int bpf_tc_hook_create(struct bpf_tc_hook *hook);
int bpf_tc_attach(const struct bpf_tc_hook *hook, struct bpf_tc_opts *opts);
int bpf_tc_query(const struct bpf_tc_hook *hook, struct bpf_tc_opts *opts);

struct bpf_test_run_opts {
    size_t sz; const void *data_in; void *data_out; __u32 data_size_in; __u32 data_size_out;
    const void *ctx_in; void *ctx_out; __u32 ctx_size_in; __u32 ctx_size_out; __u32 retval;
    int repeat; __u32 duration; __u32 flags; __u32 cpu; __u32 batch_size;
};
int bpf_prog_test_run_opts(int prog_fd, struct bpf_test_run_opts *opts);

int setns(int fd, int nstype);
int unshare(int flags);
int mount(const char *source, const char *target, const char *type, unsigned long flags,
          const void *options);
int umount2(const char *target, int flags);
int vsnprintf(char *buffer, size_t size, const char *format, void *args);
