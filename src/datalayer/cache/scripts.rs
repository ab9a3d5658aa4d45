//! What has to be one step in Redis: the server runs scripts one at a time.
//!
//! A tag is the string `PREFIXtag:NAME` that holds the tag's version, which whoever needs it first
//! makes up. A value holds the versions that its tags had, and is good while they have them. To
//! invalidate a tag is to remove its version: one command, however many values it has. A version that
//! goes by itself (it ran out after its last value, or the server evicted it) does no harm.
//!
//! A lease is the string of its token, with the tags and versions that it was claimed under after a
//! NUL, where it has any.

use std::sync::LazyLock;

use redis::Script;

/// For scripts that compare the versions of tags.
const COMPARE: &str = r"
    -- Whether these tags, with versions in turn, still have them.
    local function current(tags, prefix)
        for i = 1, #tags, 2 do
            if redis.call('GET', prefix .. tags[i]) ~= tags[i + 1] then return false end
        end
        return true
    end
";

/// For scripts that read values; `envelope.rs` says how one is laid out.
const READ: &str = r"
    -- 'good', 'stale' where the version of a tag is another one, 'large' beyond `most` bytes. What
    -- makes no sense counts as good: the client judges it, and says so.
    local function judge(value, most, prefix)
        local body = #value
        if string.sub(value, 1, 4) == '\0pl1' and #value >= 13 then
            local length = struct.unpack('<I4', string.sub(value, 6, 9))
            body = body - 13 - length
            if body > most then return 'large' end
            if body >= 0 and length > 0 then
                local read, tags = pcall(cjson.decode, string.sub(value, 14, 13 + length))
                if not read or type(tags) ~= 'table' then return 'good' end
                for i = 1, #tags do
                    if type(tags[i]) ~= 'string' then return 'good' end
                end
                if not current(tags, prefix) then return 'stale' end
            end
        end
        return body > most and 'large' or 'good'
    end

    -- The value, if it is good; a stale one is removed.
    local function good(key, most, prefix)
        local value = redis.call('GET', key)
        if not value then return false end
        local verdict = judge(value, most, prefix)
        if verdict == 'stale' then redis.call('UNLINK', key) end
        return verdict == 'good' and value
    end
";

/// For scripts that give tags their versions.
const TAG: &str = r"
    local function outlive(key, ttl)
        if redis.call('PTTL', key) < ttl then redis.call('PEXPIRE', key, ttl) end
    end

    -- The tags from this argument on with their versions, as JSON; a tag that has none gets `fresh`.
    local function versions(first, prefix, fresh, ttl)
        if #ARGV < first then return '' end
        local tags = {}
        for i = first, #ARGV do
            local key = prefix .. ARGV[i]
            if not redis.call('SET', key, fresh, 'NX', 'PX', ttl) then outlive(key, ttl) end
            table.insert(tags, ARGV[i])
            table.insert(tags, redis.call('GET', key))
        end
        return cjson.encode(tags)
    end
";

/// For scripts that read leases.
const LEASE: &str = r"
    -- The token and the tags of a lease.
    local function read_lease(key)
        local lease = redis.call('GET', key)
        if not lease then return false, '' end
        local at = string.find(lease, '\0', 1, true)
        if not at then return lease, '' end
        return string.sub(lease, 1, at - 1), string.sub(lease, at + 1)
    end
";

/// For scripts that store values.
const STORE: &str = r"
    local function store(key, ttl, tags, flags, length, body)
        if tags ~= '' and flags == '' then flags = '\0' end
        if flags ~= '' then
            body = '\0pl1' .. flags .. struct.pack('<I4', #tags) .. length .. tags .. body
        end
        redis.call('SET', key, body, 'PX', ttl)
    end
";

/// The value and its remaining milliseconds, or nothing. Larger values than allowed are not sent.
/// Keys: the value. Arguments: most bytes, the prefix of tags.
pub(super) static GET: LazyLock<Script> = LazyLock::new(|| {
    script(
        &[COMPARE, READ],
        r"
        local value = good(KEYS[1], tonumber(ARGV[1]), ARGV[2])
        return value and {value, redis.call('PTTL', KEYS[1])}
        ",
    )
});

/// 2 with the value and its remaining milliseconds, 1 when the lease was free, else 0.
/// Keys: the value, the lease. Arguments: most bytes, the prefix of tags, the token, the lease's
/// milliseconds, the milliseconds that a value has to live for at least, the tags.
pub(super) static CLAIM: LazyLock<Script> = LazyLock::new(|| {
    script(
        &[COMPARE, READ, LEASE, TAG],
        r"
        local value = good(KEYS[1], tonumber(ARGV[1]), ARGV[2])
        if value then
            local left, least = redis.call('PTTL', KEYS[1]), tonumber(ARGV[5])
            if least == 0 or left >= least then return {2, value, left} end
        end
        -- A lease whose tags have changed can't be published under any more.
        local held, claimed = read_lease(KEYS[2])
        if held and (claimed == '' or current(cjson.decode(claimed), ARGV[2])) then
            return {0, '', 0}
        end
        local lease = ARGV[3]
        local tags = versions(6, ARGV[2], ARGV[3], tonumber(ARGV[4]))
        if tags ~= '' then lease = lease .. '\0' .. tags end
        redis.call('SET', KEYS[2], lease, 'PX', ARGV[4])
        return {1, '', 0}
        ",
    )
});

/// 1 when the token held the lease and the value was stored, else 0.
/// Keys: the value, the lease. Arguments: the token, the prefix of tags, the milliseconds, and the
/// flags, the length and the body of the value.
pub(super) static PUBLISH: LazyLock<Script> = LazyLock::new(|| {
    script(
        &[COMPARE, LEASE, TAG, STORE],
        r"
        local token, tags = read_lease(KEYS[2])
        if token ~= ARGV[1] then
            return 0
        end
        redis.call('DEL', KEYS[2])
        if tags ~= '' then
            local claimed = cjson.decode(tags)
            if not current(claimed, ARGV[2]) then
                return 0
            end
            for i = 1, #claimed, 2 do
                outlive(ARGV[2] .. claimed[i], tonumber(ARGV[3]))
            end
        end
        store(KEYS[1], ARGV[3], tags, ARGV[4], ARGV[5], ARGV[6])
        return 1
        ",
    )
});

/// Deletes the lease if the token holds it. Keys: the lease. Arguments: the token.
pub(super) static RELEASE: LazyLock<Script> = LazyLock::new(|| {
    script(
        &[LEASE],
        r"
        if read_lease(KEYS[1]) == ARGV[1] then
            return redis.call('DEL', KEYS[1])
        end
        return 0
        ",
    )
});

/// Stores a value, ends the lease and tells of it, if the token holds the lease: 1, else 0. Keys: the
/// value, the lease. Arguments: the token, also a version for tags that have none, the prefix of tags, the milliseconds, the flags, the length and the body of
/// the value, the channel and the message, the tags.
pub(super) static PUT: LazyLock<Script> = LazyLock::new(|| {
    script(
        &[LEASE, TAG, STORE],
        r"
        if read_lease(KEYS[2]) ~= ARGV[1] then
            return 0
        end
        local tags = versions(9, ARGV[2], ARGV[1], tonumber(ARGV[3]))
        store(KEYS[1], ARGV[3], tags, ARGV[4], ARGV[5], ARGV[6])
        redis.call('DEL', KEYS[2])
        redis.call('PUBLISH', ARGV[7], ARGV[8])
        return 1
        ",
    )
});

/// The other names in the register and the milliseconds since they signed. Keys: the register.
/// Arguments: the name, the last index to be read.
pub(super) static SIGN: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
        local time = redis.call('TIME')
        local now = time[1] * 1000 + math.floor(time[2] / 1000)
        redis.call('ZADD', KEYS[1], now, ARGV[1])
        local signed = redis.call('ZRANGE', KEYS[1], 0, ARGV[2], 'WITHSCORES')
        local others = {}
        for i = 1, #signed, 2 do
            if signed[i] ~= ARGV[1] then
                table.insert(others, {signed[i], math.max(0, now - signed[i + 1])})
            end
        end
        return others
        ",
    )
});

fn script(shared: &[&str], code: &str) -> Script {
    Script::new(&(shared.concat() + code))
}
