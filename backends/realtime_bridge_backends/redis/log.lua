-- Operations on the log of one channel, each of them atomic; docs/specification.md §2 has the rules.
-- KEYS: meta (a hash), events (a stream; an entry's id is its offset), ids (a sorted set by offset),
-- latest (a hash of frames by key), order (a sorted set of keys by offset), owned (a hash: a record
-- of each key that has an owner or notes, its notes, end and will), parts (a hash: the items of these
-- keys, in chunks), leases (a sorted set of keys by expiry). ARGV[1] is the operation.
-- Operations that read write nothing, so that a full Redis answers them. They return nil if the
-- channel does not exist or is damaged; the caller then runs `open`. They return 1 if a lease ran
-- out, or if an epoch without an event is fading; the caller then runs `lapse`, and its next call
-- leaves both out.

local WEEK_MS, UNUSED_MS = 7 * 86400000, 600000
local MIN_IDS, ID_MS, MAX_IDS, MARK_MS = 1000, 300000, 100000, 30000
local MAX_KEYS, MAX_KEY_BYTES = 1000, 4194304
local MAX_CONTENT_BYTES, MAX_NOTES = 1048576, 8
local CHUNK_BYTES = 1024   -- a part is added to a chunk by reading and writing it: O(chunk), not O(content)
local NOT_ENDED, ENDED, LAPSED = 0, 1, 2
local SLACK = 100          -- events beyond the limit before a trim: trimming one by one costs more
local MESSAGE_BYTES = 262144

-- Format an integer. tostring writes numbers from 1e14 on in scientific notation.
local function whole(number) return string.format('%.0f', number) end

local function clock()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

local function offset_of(entry) return tonumber(string.match(entry[1], '^%d+')) end

-- Fields of `owned` and `parts` beside a key's own one. A key has no zero byte.
local function field(key, name) return key .. '\0' .. name end

-- Return the fields of the channel's meta, with numbers for its counts.
local function meta_of(keys)
  local fields = redis.call('HMGET', keys[1], 'epoch', 'top', 'id', 'ids', 'keys', 'owned', 'leases', 'lease_at',
    'bytes', 'key_bytes', 'marks', 'marked', 'old')
  return {
    epoch = fields[1], top = tonumber(fields[2]), id = fields[3] or '', ids = tonumber(fields[4]) or 0,
    keys = tonumber(fields[5]) or 0, owned = tonumber(fields[6]) or 0, leases = tonumber(fields[7]) or 0,
    lease_at = tonumber(fields[8]), bytes = tonumber(fields[9]) or 0, key_bytes = tonumber(fields[10]) or 0,
    marks = fields[11] or '', marked = tonumber(fields[12]) or 0, old = tonumber(fields[13]) or 0,
  }
end

-- Return the channel's epoch, top and the top's id, the time at which the next lease runs out, if any,
-- and its meta; nil if the channel does not exist, or if Redis evicted one of its keys. The counts in
-- meta show an eviction of ids, latest, order, owned or leases; of what has no entry, nothing can be
-- evicted. Without events, each position but the top gets a reset, as after their expiry; without
-- parts, the items are missing, as after theirs.
local function find_channel(keys)
  local meta = meta_of(keys)
  if not meta.epoch then return nil end
  if meta.ids > 0 and meta.ids ~= redis.call('ZCARD', keys[3]) then return nil end
  if meta.keys > 0 and meta.keys ~= redis.call('HLEN', keys[4]) then return nil end
  if meta.keys > 0 and meta.keys ~= redis.call('ZCARD', keys[5]) then return nil end
  if meta.owned > 0 and meta.owned ~= redis.call('HLEN', keys[6]) then return nil end
  if meta.leases > 0 and meta.leases ~= redis.call('ZCARD', keys[8]) then return nil end
  return meta.epoch, meta.top, meta.id, meta.lease_at, meta
end

-- Return whether a lease of the channel ran out, or half of the time of an epoch without an event.
local function is_due(keys, top, lease_at)
  if top == 0 and redis.call('PTTL', keys[1]) < UNUSED_MS / 2 then return true end
  return lease_at and clock() >= lease_at
end

-- Return a frame with another position. No earlier field contains the searched text, since JSON
-- escapes quotes in strings.
local function move_frame(frame, epoch, offset)
  local start = string.find(frame, ',"epoch":"', 1, true)
  local _, stop = string.find(frame, '^,"epoch":"%w+","offset":%d+', start)
  return string.sub(frame, 1, start - 1) .. ',"epoch":"' .. epoch .. '","offset":' .. offset .. string.sub(frame, stop + 1)
end

-- Return the items of a key, joined by commas; nil if they expired.
local function content_of(keys, key, record)
  local names, chunks = {}, {}
  for n = 1, record.chunks do names[n] = field(key, n) end
  if record.chunks > 0 then chunks = redis.call('HMGET', keys[7], unpack(names)) end
  for n = 1, record.chunks do
    if not chunks[n] then return nil end
  end
  return table.concat(chunks)
end

-- Return the frames that describe a key's state, by offset, each with its field in `owned` or `parts`
-- and without the data of the parts, which `merged` adds.
local function group_of(keys, key, record, base)
  local group = {}
  local function add(name, frame)
    if frame and frame ~= '' then
      group[#group + 1] = {name = name, frame = frame, offset = tonumber(string.match(frame, ',"offset":(%d+)'))}
    end
  end
  add('base', base)
  if record then
    local names = {field(key, 'e')}
    for n, note in ipairs(record.notes) do names[n + 1] = field(key, 'n' .. note[1]) end
    local frames = redis.call('HMGET', keys[6], unpack(names))
    for n, name in ipairs(names) do add(name, frames[n]) end
    if record.has_part then add('part', redis.call('HGET', keys[7], field(key, 'p'))) end
  end
  table.sort(group, function(one, other) return one.offset < other.offset end)
  return group
end

-- Return the frame of all parts of a key as one.
local function merged(head, content) return head .. ',"data":[' .. content .. ']}' end

-- Begin an epoch, and return it with its top and the top's id. The latest event of each key stays, and
-- the state of each key with an owner: these events get the offsets from 1 on, as if all but the last
-- one had been trimmed.
local function begin_epoch(keys, epoch)
  local names = redis.call('ZRANGE', keys[5], 0, -1)
  local groups = {}
  for number, name in ipairs(names) do
    local packed = redis.call('HGET', keys[6], name)
    local record = packed and cmsgpack.unpack(packed)
    local will = record and redis.call('HGET', keys[6], field(name, 'w'))
    local frames = group_of(keys, name, record, redis.call('HGET', keys[4], name))
    local last = #frames > 0 and frames[#frames].offset or 0
    groups[number] = {name = name, record = record, will = will, frames = frames, last = last}
  end
  table.sort(groups, function(one, other) return one.last < other.last end)
  local retention = redis.call('PTTL', keys[2])
  local others = {keys[1], keys[2], keys[3], keys[4], keys[5], keys[6], keys[8]}
  -- Not without need: in a script of a full Redis, this write would permit all that follow.
  if redis.call('EXISTS', unpack(others)) > 0 then redis.call('DEL', unpack(others)) end
  local top, last, key_bytes, bytes, count, lease_at = 0, nil, 0, 0, 0, nil
  for _, group in ipairs(groups) do
    local name, record, shown = group.name, group.record, 0
    if record then record.size = record.content end
    for _, item in ipairs(group.frames) do
      -- Without a frame, Redis evicted the key `latest`; another program may have written the rest.
      if string.find(item.frame, '^{.-,"epoch":"%w+","offset":%d+') then
        top = top + 1
        local frame = move_frame(item.frame, epoch, whole(top))
        last = {name = item.name, key = name, record = record, frame = frame}
        if item.name == 'part' then redis.call('HSET', keys[7], field(name, 'p'), frame)
        else
          shown = top
          if item.name == 'base' then redis.call('HSET', keys[4], name, frame)
          else redis.call('HSET', keys[6], item.name, frame) end
          if record then record.size = record.size + #frame else key_bytes = key_bytes + #frame end
        end
        if record and string.sub(item.name, #name + 1, #name + 2) == '\0n' then
          for _, note in ipairs(record.notes) do
            if field(name, 'n' .. note[1]) == item.name then note[2] = top end
          end
          record.noted = top
        end
      end
    end
    if record then
      record.touched = top
      key_bytes = key_bytes + record.size
      redis.call('HSET', keys[6], name, cmsgpack.pack(record))
      if group.will then redis.call('HSET', keys[6], field(name, 'w'), group.will) end
      if record.expires then
        redis.call('ZADD', keys[8], whole(record.expires), name)
        if not lease_at or record.expires < lease_at then lease_at = record.expires end
      end
      if redis.call('HEXISTS', keys[4], name) == 0 then redis.call('HSET', keys[4], name, '') end
    end
    if record or shown > 0 then
      redis.call('ZADD', keys[5], whole(shown), name)
      count = count + 1
    end
  end
  local id = ''
  if last then
    local frame = last.frame
    if last.name == 'part' then frame = merged(frame, content_of(keys, last.key, last.record) or '') end
    id = cjson.decode(string.match(frame, '^(.-),"epoch":"') .. '}').id
    bytes = #frame - select(2, string.find(frame, ',"data":', 1, true)) - 1
    redis.call('XADD', keys[2], whole(top) .. '-0', 'i', id, 'n', whole(bytes), 'f', frame)
    redis.call('PEXPIRE', keys[2], retention > 0 and retention or UNUSED_MS)
  end
  redis.call('HSET', keys[1], 'epoch', epoch, 'top', whole(top), 'id', id, 'bytes', whole(bytes),
    'key_bytes', whole(key_bytes), 'ids', 0, 'keys', whole(count), 'owned', redis.call('HLEN', keys[6]),
    'leases', redis.call('ZCARD', keys[8]))
  if lease_at then redis.call('HSET', keys[1], 'lease_at', whole(lease_at)) end
  for _, n in ipairs({1, 4, 5, 6, 8}) do redis.call('PEXPIRE', keys[n], top > 0 and WEEK_MS or UNUSED_MS) end
  return epoch, top, id, lease_at, meta_of(keys)
end

-- Return what find_channel returns; begin `new_epoch` where it returns nil.
local function open_channel(keys, new_epoch)
  local epoch, top, id, lease_at, meta = find_channel(keys)
  if epoch then return epoch, top, id, lease_at, meta end
  return begin_epoch(keys, new_epoch)
end

-- Remove ids beyond the last 1,000 that are older than 5 minutes, and beyond 100,000 in any case.
-- A mark "time:top;" is added twice a minute. Offsets up to its top are older than its time, so no
-- id needs a time of its own. Return whether a mark was added.
local function trim_ids(keys, meta, at, before, top)
  local old_top, mark_added = meta.old, false
  if at - meta.marked >= MARK_MS then
    local marks = ''
    for time, mark_top in string.gmatch(meta.marks .. whole(at) .. ':' .. whole(before) .. ';', '(%d+):(%d+);') do
      if tonumber(time) <= at - ID_MS then old_top = tonumber(mark_top)
      else marks = marks .. time .. ':' .. mark_top .. ';' end
    end
    redis.call('HSET', keys[1], 'marks', marks, 'marked', whole(at), 'old', whole(old_top))
    mark_added = true
  end
  local bound = math.max(math.min(old_top, top - MIN_IDS), top - MAX_IDS)
  -- Each event since the epoch's begin added an id: with fewer ids, none is up to the bound.
  if bound > 0 and meta.ids > top - bound then
    meta.ids = meta.ids - redis.call('ZREMRANGEBYSCORE', keys[3], '-inf', whole(bound))
  end
  return mark_added
end

-- Remove the oldest events beyond the limits, and return the bytes of the rest. The last event
-- stays, however large it is.
local function trim(keys, length, bytes, max_events, max_bytes)
  if length <= max_events + math.min(SLACK, max_events) and bytes <= max_bytes then return bytes end
  while length > max_events or (bytes > max_bytes and length > 1) do
    local count = math.max(1, math.min(SLACK, length - max_events))
    for _, entry in ipairs(redis.call('XRANGE', keys[2], '-', '+', 'COUNT', count)) do
      bytes = bytes - tonumber(entry[2][4])
    end
    redis.call('XTRIM', keys[2], 'MAXLEN', '=', whole(length - count))
    length = length - count
  end
  return bytes
end

-- Return the record of a key, or false; records are kept for the time of the call, and written at its end.
local function record_of(write, key)
  local record = write.records[key]
  if record == nil then
    local packed = write.has_owned and redis.call('HGET', write.keys[6], key)
    record = packed and cmsgpack.unpack(packed)
    write.records[key] = record
  end
  return record
end

-- Change the size of a record's data by this many bytes.
local function grow(write, record, bytes)
  record.size = record.size + bytes
  write.key_bytes = write.key_bytes + bytes
end

local function drop_content(write, key, record)
  local names = {field(key, 'p')}
  for n = 1, record.chunks do names[n + 1] = field(key, n) end
  if record.has_part then redis.call('HDEL', write.keys[7], unpack(names)) end
  grow(write, record, -record.content)
  record.content, record.chunks, record.has_part = 0, 0, false
end

-- Remove the end of a key, which the order of the keys counts.
local function drop_end(write, key, record)
  if record.ended == NOT_ENDED then return end
  grow(write, record, -redis.call('HSTRLEN', write.keys[6], field(key, 'e')))
  redis.call('HDEL', write.keys[6], field(key, 'e'))
  record.ended = NOT_ENDED
  local base = redis.call('HGET', write.keys[4], key)
  local offset = tonumber(string.match(base, ',"offset":(%d+)')) or 0
  write.owned_changed = true
  redis.call('ZADD', write.keys[5], whole(math.max(offset, record.noted)), key)
end

-- Remove the notes of a key: they were for the run that ended.
local function drop_notes(write, key, record)
  write.owned_changed = true
  for _, note in ipairs(record.notes) do
    grow(write, record, -redis.call('HSTRLEN', write.keys[6], field(key, 'n' .. note[1])))
    redis.call('HDEL', write.keys[6], field(key, 'n' .. note[1]))
  end
  record.notes, record.noted = {}, 0
end

-- Restart the lease of a key, or end it. A lease that was the next to run out, and is longer now, leaves
-- `lease_at` too early until a renewal, or until that time: to look for the next one costs each part.
local function set_lease(write, key, record)
  local before = record.expires
  record.expires = record.lease > 0 and record.ended == NOT_ENDED and write.at + record.lease * 1000 or nil
  if record.expires then
    redis.call('ZADD', write.keys[8], whole(record.expires), key)
    if not before or record.expires < before then write.has_new_leases = true end
  elseif before then
    redis.call('ZREM', write.keys[8], key)
    write.has_new_leases = true
  end
end

-- Return the key that was not changed for the longest time, and its record. A part does not change the
-- order of a key, so a later key may be older.
local function oldest_key(write)
  local best, best_offset, start = nil, nil, 0
  repeat
    local names = redis.call('ZRANGE', write.keys[5], start, start + 49, 'WITHSCORES')
    for n = 1, #names, 2 do
      local offset = tonumber(names[n + 1])
      if best and offset >= best_offset then return best, record_of(write, best) end
      local record = record_of(write, names[n])
      local touched = record and record.touched or offset
      if not best or touched < best_offset then best, best_offset = names[n], touched end
    end
    start = start + 50
  until #names < 100
  return best, best and record_of(write, best)
end

local function evict_key(write, key, record)
  local keys = write.keys
  if record then
    drop_content(write, key, record)
    local names = {key, field(key, 'e'), field(key, 'w')}
    for n, note in ipairs(record.notes) do names[n + 3] = field(key, 'n' .. note[1]) end
    redis.call('HDEL', keys[6], unpack(names))
    redis.call('ZREM', keys[8], key)
    write.key_bytes = write.key_bytes - record.size
    write.records[key], write.has_new_leases, write.owned_changed = false, true, true
  else
    write.key_bytes = write.key_bytes - redis.call('HSTRLEN', keys[4], key)
  end
  redis.call('ZREM', keys[5], key)
  redis.call('HDEL', keys[4], key)
  write.meta.keys = write.meta.keys - 1
end

-- Set the place of a key in the order.
local function set_order(write, key, offset)
  write.meta.keys = write.meta.keys + redis.call('ZADD', write.keys[5], offset, key)
end

local function time_of(write, key, record)
  if record then return record.at end
  return tonumber(string.match(redis.call('HGET', write.keys[4], key), '"time":(%d+)')) or write.at
end

-- Remove the keys that were not changed for a week.
local function expire_keys(write)
  local oldest, record = oldest_key(write)
  while oldest and time_of(write, oldest, record) < write.at - WEEK_MS do
    evict_key(write, oldest, record)
    oldest, record = oldest_key(write)
  end
end

local function evict_keys(write)
  local meta = write.meta
  while meta.keys > 1 and (meta.keys > MAX_KEYS or write.key_bytes > MAX_KEY_BYTES) do
    evict_key(write, oldest_key(write))
  end
end

-- Store the latest event of a plain key.
local function store_latest(write, key, offset, frame)
  write.key_bytes = write.key_bytes - redis.call('HSTRLEN', write.keys[4], key) + #frame
  redis.call('HSET', write.keys[4], key, frame)
  set_order(write, key, offset)
  evict_keys(write)
end

-- Return the items of a part, of which the second half of its frame is given, and the frame's end.
local function items_of(tail)
  local start = string.find(tail, ',"data":', 1, true)
  return string.sub(tail, start + 9, -3), start
end

-- Return the reason for which an event is refused, or nil. `change` is nil for a plain event.
local function refusal(write, key, change, tail)
  local record = record_of(write, key)
  local owner, is_ended = record and record.attempt, record and record.ended == ENDED
  if change and change.fold == 'note' then
    if not record and redis.call('HEXISTS', write.keys[4], key) == 0 then return 'gone' end
    return is_ended and 'ended' or nil
  end
  if not (change and change.attempt) then return owner and 'owned' or nil end
  if change.take == 'always' then return nil end
  if change.take == 'open' then return is_ended and 'ended' or nil end
  if not owner then return change.take ~= 'absent' and 'gone' or nil end
  if owner ~= change.attempt then return 'superseded' end
  if is_ended then return 'ended' end
  if change.fold == 'append' then
    local items = #(items_of(tail))
    local comma = record.content > 0 and items > 0 and 1 or 0
    if 2 + record.content + comma + items > MAX_CONTENT_BYTES then return 'full' end
  end
  return nil
end

local function add_items(write, key, record, head, tail)
  local parts = write.keys[7]
  local items, start = items_of(tail)
  if record.is_trimmed then return end
  local chunk = record.chunks > 0 and redis.call('HGET', parts, field(key, record.chunks))
  if record.chunks > 0 and not chunk then  -- the items expired
    drop_content(write, key, record)
    record.is_trimmed = true
    return
  end
  local name, part = field(key, 'p'), head .. string.sub(tail, 1, start - 1)
  record.has_part = true
  if items == '' then
    redis.call('HSET', parts, name, part)
    return
  end
  local added = record.content > 0 and ',' .. items or items
  if not chunk or #chunk >= CHUNK_BYTES then record.chunks, chunk = record.chunks + 1, '' end
  redis.call('HSET', parts, name, part, field(key, record.chunks), chunk .. added)
  record.content = record.content + #added
  grow(write, record, #added)
end

local function add_note(write, key, record, offset, frame)
  local name = cjson.decode('[' .. string.match(frame, ',"event":(".-"),"id":"') .. ']')[1]
  local notes = {}
  for _, note in ipairs(record.notes) do
    if note[1] ~= name then notes[#notes + 1] = note end
  end
  notes[#notes + 1] = {name, offset}
  write.owned_changed = true
  local removed = #notes > MAX_NOTES and table.remove(notes, 1)
  if removed then
    grow(write, record, -redis.call('HSTRLEN', write.keys[6], field(key, 'n' .. removed[1])))
    redis.call('HDEL', write.keys[6], field(key, 'n' .. removed[1]))
  end
  grow(write, record, #frame - redis.call('HSTRLEN', write.keys[6], field(key, 'n' .. name)))
  redis.call('HSET', write.keys[6], field(key, 'n' .. name), frame)
  record.notes, record.noted = notes, offset
end

-- Fold an accepted event into what is kept for its key.
local function fold(write, key, change, head, tail)
  local keys, offset, frame = write.keys, write.top, head .. tail
  local record = record_of(write, key)
  local how = change and change.fold
  if not record then
    local size = redis.call('HSTRLEN', keys[4], key)
    record = {lease = 0, ended = NOT_ENDED, noted = 0, notes = {}, content = 0, chunks = 0, size = size}
    write.records[key], write.has_owned, write.owned_changed = record, true, true
    if size == 0 then redis.call('HSET', keys[4], key, '') end
  end
  write.changed[key], record.touched, record.at = true, offset, write.at
  if how == 'append' then
    drop_end(write, key, record)
    add_items(write, key, record, head, tail)
  elseif how == 'note' then add_note(write, key, record, offset, frame)
  elseif how == 'end' or how == 'lapse' then
    drop_end(write, key, record)
    if how == 'end' then drop_notes(write, key, record) end
    redis.call('HSET', keys[6], field(key, 'e'), frame)
    write.owned_changed = true
    grow(write, record, #frame)
    record.ended = how == 'end' and ENDED or LAPSED
  elseif not how then
    drop_end(write, key, record)
    drop_content(write, key, record)
    record.is_trimmed = nil
    grow(write, record, #frame - redis.call('HSTRLEN', keys[4], key))
    redis.call('HSET', keys[4], key, frame)
  end
  if how ~= 'append' then set_order(write, key, whole(offset)) end
  if how ~= 'note' then
    if change and change.take then
      write.owned_changed = true
      record.attempt, record.lease = change.attempt, change.lease or 0
      if change.will then redis.call('HSET', keys[6], field(key, 'w'), cmsgpack.pack(change.will))
      else redis.call('HDEL', keys[6], field(key, 'w')) end
    elseif change and change.lease == 0 then
      record.lease, write.owned_changed = 0, true
      redis.call('HDEL', keys[6], field(key, 'w'))
    end
    set_lease(write, key, record)
  end
  evict_keys(write)
end

-- Publish frames, in messages of a limited size: a listener reads each as a whole. Each frame has
-- its length before it, since no separator is safe: SQL's JSON may contain newlines.
local function notify(command, channel, frames)
  local parts, size = {}, 0
  for number, frame in ipairs(frames) do
    parts[#parts + 1] = #frame .. ':' .. frame
    size = size + #frame
    if size >= MESSAGE_BYTES or number == #frames then
      redis.call(command, channel, table.concat(parts))
      parts, size = {}, 0
    end
  end
end

-- ARGV of all operations that append: an epoch for a new channel; PUBLISH or SPUBLISH; the pub/sub
-- channel; the limits (events, bytes, milliseconds). Return what they change.
local function begin_write(keys, argv)
  local epoch, top, id, lease_at, meta = open_channel(keys, argv[1])
  local at, length, has_owned = clock(), redis.call('XLEN', keys[2]), meta.owned > 0
  return {
    keys = keys, epoch = epoch, top = top, before = top, id = id, lease_at = lease_at, meta = meta, at = at,
    time = ',"time":' .. whole(at), frames = {}, records = {}, changed = {},
    length = length, bytes = length > 0 and meta.bytes or 0,  -- else the stream has expired
    key_bytes = meta.key_bytes, key_bytes_before = meta.key_bytes, has_owned = has_owned, had_owned = has_owned,
  }
end

-- Store an event at the next offset; `change` is nil for a plain event.
local function place(write, id, key, size, head, tail, change)
  local keys = write.keys
  write.top, write.id = write.top + 1, id
  local offset = whole(write.top)
  head = head .. ',"epoch":"' .. write.epoch .. '","offset":' .. offset .. write.time
  local frame = head .. tail
  redis.call('XADD', keys[2], offset .. '-0', 'i', id, 'n', size, 'f', frame)
  write.meta.ids = write.meta.ids + redis.call('ZADD', keys[3], offset, id)
  write.length, write.bytes = write.length + 1, write.bytes + tonumber(size)
  if key ~= '' then
    if change or record_of(write, key) then fold(write, key, change, head, tail)
    else store_latest(write, key, offset, frame) end
  end
  write.frames[#write.frames + 1] = frame
end

-- End the keys whose leases ran out: those of `first` before the others, by expiry and key.
local function lapse_due(write, first)
  if not (write.lease_at and write.at >= write.lease_at) then return end
  local due, others = {}, {}
  for _, key in ipairs(redis.call('ZRANGE', write.keys[8], '-inf', whole(write.at), 'BYSCORE')) do
    local list = first[key] and due or others
    list[#list + 1] = key
  end
  for _, key in ipairs(others) do due[#due + 1] = key end
  for _, key in ipairs(due) do
    local record, will = record_of(write, key), redis.call('HGET', write.keys[6], field(key, 'w'))
    if record and will then
      will = cmsgpack.unpack(will)
      local id = record.attempt .. '-lapse-' .. whole(write.top + 1)
      place(write, id, key, whole(will[3]), will[1] .. id .. '"', will[2], {fold = 'lapse'})
    else redis.call('ZREM', write.keys[8], key) end
  end
  write.has_new_leases = true
end

-- Write what changed, remove what is beyond the limits, and announce the events.
local function finish_write(write, argv)
  local keys, meta = write.keys, write.meta
  if write.top > write.before or write.has_new_leases then
    local mark_added = false
    if write.top > write.before then
      write.bytes = trim(keys, write.length, write.bytes, tonumber(argv[4]), tonumber(argv[5]))
      redis.call('PEXPIRE', keys[2], argv[6])
      -- Extend the other keys with each mark only: twice a minute is often enough for a week.
      mark_added = trim_ids(keys, meta, write.at, write.before, write.top)
      if mark_added and write.key_bytes > 0 then expire_keys(write) end
    end
    if write.has_owned then
      for key in pairs(write.changed) do
        if write.records[key] then redis.call('HSET', keys[6], key, cmsgpack.pack(write.records[key])) end
      end
      redis.call('PEXPIRE', keys[7], argv[6])
      if write.owned_changed then meta.owned = redis.call('HLEN', keys[6]) end
    end
    local fields = {'top', whole(write.top), 'id', write.id, 'bytes', whole(write.bytes), 'key_bytes',
      whole(write.key_bytes), 'ids', whole(meta.ids), 'keys', whole(meta.keys), 'owned', whole(meta.owned)}
    if write.has_new_leases then
      local next = redis.call('ZRANGE', keys[8], 0, 0, 'WITHSCORES')
      fields[#fields + 1], fields[#fields + 2] = 'leases', whole(redis.call('ZCARD', keys[8]))
      if next[2] then fields[#fields + 1], fields[#fields + 2] = 'lease_at', whole(tonumber(next[2]))
      else redis.call('HDEL', keys[1], 'lease_at') end
    end
    redis.call('HSET', keys[1], unpack(fields))
    if mark_added or (write.key_bytes_before == 0 and write.key_bytes > 0) or (write.has_owned and not write.had_owned) then
      for _, n in ipairs({1, 3, 4, 5, 6, 8}) do redis.call('PEXPIRE', keys[n], WEEK_MS) end
    end
  end
  notify(argv[2], argv[3], write.frames)
end

local function noted(write, key)
  local record = key ~= '' and record_of(write, key)
  return record and record.noted or 0
end

-- ARGV: those of begin_write; then per event its id, key, bytes of data, the two halves of its frame,
-- between which its position is inserted, and its change of an owned key or ''. Return the epoch; then
-- per event its offset or 0, 1 for a duplicate or the reason of a refusal, and the offset of the key's
-- newest note. A duplicate is published again: the first message may have been lost.
local function append(keys, argv)
  local changes = {}
  -- Before the first write: a script that fails keeps what it wrote.
  for i = 12, #argv, 6 do changes[i] = argv[i] ~= '' and cmsgpack.unpack(argv[i]) or nil end
  local write = begin_write(keys, argv)
  local answer = {write.epoch}
  for i = 7, #argv, 6 do
    local id, key, change = argv[i], argv[i + 1], changes[i + 5]
    local known_offset = redis.call('ZSCORE', keys[3], id)
    if known_offset then
      local entry = redis.call('XRANGE', keys[2], known_offset, known_offset)[1]
      if entry then write.frames[#write.frames + 1] = entry[2][6] end
      answer[#answer + 1], answer[#answer + 2] = tonumber(known_offset), 1
    else
      local refused = key ~= '' and (change or write.has_owned) and refusal(write, key, change, argv[i + 4])
      if refused then answer[#answer + 1], answer[#answer + 2] = 0, refused
      else
        place(write, id, key, argv[i + 2], argv[i + 3], argv[i + 4], change)
        answer[#answer + 1], answer[#answer + 2] = write.top, 0
      end
    end
    answer[#answer + 1] = noted(write, key)
  end
  lapse_due(write, {})
  finish_write(write, argv)
  return answer
end

-- ARGV: those of begin_write. End the keys whose leases ran out.
local function lapse(keys, argv)
  local write = begin_write(keys, argv)
  lapse_due(write, {})
  finish_write(write, argv)
  if write.top == 0 then redis.call('PEXPIRE', keys[1], UNUSED_MS) end
  return 1
end

-- ARGV: those of begin_write; then per lease its key and attempt. Return per lease the reason for which
-- it was not renewed, or '', and the offset of the key's newest note.
local function renew(keys, argv)
  local write = begin_write(keys, argv)
  local first, answer = {}, {}
  for i = 7, #argv, 2 do first[argv[i]] = true end
  lapse_due(write, first)
  for i = 7, #argv, 2 do
    local key, attempt = argv[i], argv[i + 1]
    local record = record_of(write, key)
    local refused = ''
    if not (record and record.attempt) then refused = 'gone'
    elseif record.attempt ~= attempt then refused = 'superseded'
    elseif record.ended ~= NOT_ENDED then refused = record.ended == LAPSED and 'lapsed' or 'ended'
    else
      write.changed[key], record.touched, record.at = true, write.top, write.at
      if record.expires then
        set_lease(write, key, record)
        write.has_new_leases = true
      end
      redis.call('PEXPIRE', keys[7], argv[6])
    end
    answer[#answer + 1], answer[#answer + 2] = refused, record and record.noted or 0
  end
  finish_write(write, argv)
  return answer
end

-- ARGV[1] of all operations that read: 1 to leave out what is due.
-- Return the top (epoch, offset, id).
local function position(keys, argv)
  local epoch, top, id, lease_at = find_channel(keys)
  if epoch and argv[1] == '0' and is_due(keys, top, lease_at) then return 1 end
  return epoch and {epoch, top, id} or nil
end

-- ARGV: the epoch to begin if the channel does not exist or is damaged. Return the top.
local function open(keys, argv)
  local epoch, top, id = open_channel(keys, argv[1])
  return {epoch, top, id}
end

-- Return the reason why the history does not continue the position `after`, or nil.
local function discontinuity(keys, epoch, top, top_id, after_epoch, after, after_id)
  local function mismatch(id) return after_id ~= '' and after > 0 and after_id ~= id end
  if after_epoch ~= epoch then return 'epoch' end
  if after > top then return 'ahead' end
  if after == top then return mismatch(top_id) and 'regressed' or nil end
  if after == 0 then
    local first = redis.call('XRANGE', keys[2], '-', '+', 'COUNT', 1)[1]
    return not (first and offset_of(first) == 1) and 'truncated' or nil
  end
  local entry = redis.call('XRANGE', keys[2], whole(after), whole(after))[1]
  if not entry then return 'truncated' end
  return mismatch(entry[2][2]) and 'regressed' or nil
end

-- Add groups of frames to the answer until the page is full; return 1 if groups remain, else 0. The
-- first group always fits, and no group is divided.
local function fill(answer, groups, limit, max_bytes, size_of)
  local size, count = 0, 0
  for number, group in ipairs(groups) do
    size, count = size + size_of(number), count + #group
    if number > 1 and (count > limit or size > max_bytes) then return 1 end
    for _, frame in ipairs(group) do answer[#answer + 1] = frame end
  end
  return 0
end

-- ARGV: the position to continue (epoch, offset, id); the limits of a page (events, bytes). Return
-- the reason of a reset or ''; the top (epoch, offset, id); 1 if more events follow; and the frames.
local function read(keys, argv)
  local epoch, top, id, lease_at = find_channel(keys)
  if not epoch then return nil end
  if argv[1] == '0' and is_due(keys, top, lease_at) then return 1 end
  local after, limit = tonumber(argv[3]), tonumber(argv[5])
  -- Without an epoch, the oldest events are read.
  local reason = argv[2] ~= '' and discontinuity(keys, epoch, top, id, argv[2], after, argv[4])
  local answer = {reason or '', epoch, top, id, 0}
  if reason then return answer end
  local entries = redis.call('XRANGE', keys[2], '(' .. whole(after), '+', 'COUNT', limit + 1)
  local groups = {}
  for number, entry in ipairs(entries) do groups[number] = {entry[2][6]} end
  answer[5] = fill(answer, groups, limit, tonumber(argv[6]), function(n) return tonumber(entries[n][2][4]) end)
  return answer
end

local function frames_of(group)
  local frames = {}
  for n, item in ipairs(group) do frames[n] = item.frame end
  return frames
end

-- Return the frames of one key's state, with its items.
local function state_of(keys, key)
  local packed = redis.call('HGET', keys[6], key)
  local record = packed and cmsgpack.unpack(packed)
  local group = {}
  for _, item in ipairs(group_of(keys, key, record, redis.call('HGET', keys[4], key))) do
    local content = item.name ~= 'part' or content_of(keys, key, record)
    if item.name == 'part' and content then item.frame = merged(item.frame, content) end
    if content then group[#group + 1] = item end
  end
  return frames_of(group)
end

-- ARGV: the offset to continue after; the limits of a page (events, bytes); the only key, or ''. Return
-- what `read` returns. Events older than a week are left out, until an append removes them.
local function latest(keys, argv)
  local epoch, top, id, lease_at = find_channel(keys)
  if not epoch then return nil end
  if argv[1] == '0' and is_due(keys, top, lease_at) then return 1 end
  local after, limit, old = argv[2], tonumber(argv[3]), clock() - WEEK_MS
  local answer, groups, count = {'', epoch, top, id, 0}, {}, 0
  local function size_of(n)
    local size = 0
    for _, frame in ipairs(groups[n]) do size = size + #frame end
    return size
  end
  if argv[5] ~= '' then
    groups[1] = state_of(keys, argv[5])
    answer[5] = fill(answer, groups, limit, tonumber(argv[4]), size_of)
    return answer
  end
  local has_owned = redis.call('EXISTS', keys[6]) == 1
  repeat
    local names = redis.call('ZRANGE', keys[5], '(' .. after, '+inf', 'BYSCORE', 'LIMIT', 0, limit + 1)
    if #names > 0 then
      after = redis.call('ZSCORE', keys[5], names[#names])
      local frames = redis.call('HMGET', keys[4], unpack(names))
      local packed = has_owned and redis.call('HMGET', keys[6], unpack(names)) or {}
      for n, frame in ipairs(frames) do
        local group = {frame}
        if packed[n] then
          local record = cmsgpack.unpack(packed[n])
          record.has_part = false
          group = record.at >= old and frames_of(group_of(keys, names[n], record, frame)) or {}
        elseif (tonumber(string.match(frame, '"time":(%d+)')) or old) < old then group = {} end
        if #group > 0 then groups[#groups + 1], count = group, count + #group end
      end
    end
  until count > limit or #names <= limit
  answer[5] = fill(answer, groups, limit, tonumber(argv[4]), size_of)
  return answer
end

-- ARGV: the new epoch; the epoch to end if it is still the channel's. Return the top.
local function rotate_epoch(keys, argv)
  local epoch, top, id = open_channel(keys, argv[1])
  if epoch == argv[2] then epoch, top, id = begin_epoch(keys, argv[1]) end
  return {epoch, top, id}
end

-- KEYS[1]: a hash for this alone. ARGV: a configuration. Return its generation, or nil for another
-- configuration than the stored one.
local function known_generation(keys, argv)
  local stored = redis.call('HMGET', keys[1], 'configuration', 'generation')
  return stored[1] == argv[1] and tonumber(stored[2]) or nil
end

-- Return the generation of a configuration: above that of every earlier one, and at least the Unix
-- time in seconds, as a log in memory has.
local function generation(keys, argv)
  local stored = redis.call('HMGET', keys[1], 'configuration', 'generation')
  if stored[1] == argv[1] then return tonumber(stored[2]) end
  local next = math.max((tonumber(stored[2]) or 0) + 1, math.floor(clock() / 1000))
  redis.call('HSET', keys[1], 'configuration', argv[1], 'generation', whole(next))
  return next
end

local operations = {
  append = append, lapse = lapse, renew = renew, open = open, rotate_epoch = rotate_epoch, generation = generation,
  position = position, read = read, latest = latest, known_generation = known_generation,
}

local function run_operation(keys, argv) return operations[table.remove(argv, 1)](keys, argv) end
