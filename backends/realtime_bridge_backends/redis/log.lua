-- Operations on the log of one channel, each of them atomic; docs/specification.md §2 has the rules.
-- KEYS: meta (a hash), events (a stream; an entry's id is its offset), ids (a sorted set by offset),
-- latest (a hash of frames by key), order (a sorted set of keys by offset). ARGV[1] is the operation.
-- Operations that read write nothing, so that a full Redis answers them. They return nil if the
-- channel does not exist or is damaged; the caller then runs `open`.

local WEEK_MS, UNUSED_MS = 7 * 86400000, 600000
local MIN_IDS, ID_MS, MAX_IDS, MARK_MS = 1000, 300000, 100000, 30000
local MAX_KEYS, MAX_KEY_BYTES = 1000, 1048576
local SLACK = 100          -- events beyond the limit before a trim: trimming one by one costs more
local MESSAGE_BYTES = 262144

-- Format an integer. tostring writes numbers from 1e14 on in scientific notation.
local function whole(number) return string.format('%.0f', number) end

local function clock()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

local function offset_of(entry) return tonumber(string.match(entry[1], '^%d+')) end

-- Return the channel's epoch, top and the top's id; nil if the channel does not exist, or if Redis
-- evicted one of its keys. The counts in meta show an eviction of ids, latest or order. Without
-- events, each position but the top gets a reset, as after their expiry.
local function find_channel(keys)
  local meta = redis.call('HMGET', keys[1], 'epoch', 'top', 'id', 'ids', 'keys')
  if not meta[1] then return nil end
  local ids, count = tonumber(meta[4]), tonumber(meta[5])
  if ids and ids ~= redis.call('ZCARD', keys[3]) then return nil end
  if count and (count ~= redis.call('HLEN', keys[4]) or count ~= redis.call('ZCARD', keys[5])) then return nil end
  return meta[1], tonumber(meta[2]), meta[3] or ''
end

-- Return a frame with another position. No earlier field contains the searched text, since JSON
-- escapes quotes in strings.
local function move_frame(frame, epoch, offset)
  local start = string.find(frame, ',"epoch":"', 1, true)
  local _, stop = string.find(frame, '^,"epoch":"%w+","offset":%d+', start)
  return string.sub(frame, 1, start - 1) .. ',"epoch":"' .. epoch .. '","offset":' .. offset .. string.sub(frame, stop + 1)
end

-- Begin an epoch, and return it with its top and the top's id. The latest event of each key stays:
-- these events get the offsets from 1 on, as if all but the last one had been trimmed.
local function begin_epoch(keys, epoch)
  local names = redis.call('ZRANGE', keys[5], 0, -1)
  local frames = {}
  for number, name in ipairs(names) do frames[number] = redis.call('HGET', keys[4], name) end
  local retention = redis.call('PTTL', keys[2])
  -- Not without need: in a script of a full Redis, this write would permit all that follow.
  if redis.call('EXISTS', unpack(keys)) > 0 then redis.call('DEL', unpack(keys)) end
  local top, id, key_bytes, bytes = 0, '', 0, 0
  for number, name in ipairs(names) do
    -- Without a frame, Redis evicted the key `latest`; another program may have written the rest.
    if frames[number] and string.find(frames[number], '^{.-,"epoch":"%w+","offset":%d+') then
      top = top + 1
      frames[top] = move_frame(frames[number], epoch, whole(top))
      key_bytes = key_bytes + #frames[top]
      redis.call('HSET', keys[4], name, frames[top])
      redis.call('ZADD', keys[5], whole(top), name)
    end
  end
  if top > 0 then
    id = cjson.decode(string.match(frames[top], '^(.-),"epoch":"') .. '}').id
    bytes = #frames[top] - select(2, string.find(frames[top], ',"data":', 1, true)) - 1
    redis.call('XADD', keys[2], whole(top) .. '-0', 'i', id, 'n', whole(bytes), 'f', frames[top])
    redis.call('PEXPIRE', keys[2], retention > 0 and retention or UNUSED_MS)
  end
  redis.call('HSET', keys[1], 'epoch', epoch, 'top', whole(top), 'id', id, 'bytes', whole(bytes),
    'key_bytes', whole(key_bytes), 'ids', 0, 'keys', whole(top))
  for _, n in ipairs({1, 4, 5}) do redis.call('PEXPIRE', keys[n], top > 0 and WEEK_MS or UNUSED_MS) end
  return epoch, top, id
end

-- Return what find_channel returns; begin `new_epoch` where it returns nil.
local function open_channel(keys, new_epoch)
  local epoch, top, id = find_channel(keys)
  if epoch then return epoch, top, id end
  return begin_epoch(keys, new_epoch)
end

-- Remove ids beyond the last 1,000 that are older than 5 minutes, and beyond 100,000 in any case.
-- A mark "time:top;" is added twice a minute. Offsets up to its top are older than its time, so no
-- id needs a time of its own. Return whether a mark was added.
local function trim_ids(keys, meta, at, before, top)
  local marked, old_top, mark_added = tonumber(meta[5]) or 0, tonumber(meta[6]) or 0, false
  if at - marked >= MARK_MS then
    local marks = ''
    for time, mark_top in string.gmatch((meta[4] or '') .. whole(at) .. ':' .. whole(before) .. ';', '(%d+):(%d+);') do
      if tonumber(time) <= at - ID_MS then old_top = tonumber(mark_top)
      else marks = marks .. time .. ':' .. mark_top .. ';' end
    end
    redis.call('HSET', keys[1], 'marks', marks, 'marked', whole(at), 'old', whole(old_top))
    mark_added = true
  end
  local bound = math.max(math.min(old_top, top - MIN_IDS), top - MAX_IDS)
  if bound > 0 then redis.call('ZREMRANGEBYSCORE', keys[3], '-inf', whole(bound)) end
  return mark_added
end

-- Remove the oldest events beyond the limits, and return the bytes of the rest. The last event
-- stays, however large it is.
local function trim(keys, bytes, max_events, max_bytes)
  local length = redis.call('XLEN', keys[2])
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

-- Remove the key with the oldest event, and return the bytes of the rest.
local function evict_key(keys, bytes)
  local oldest = redis.call('ZPOPMIN', keys[5])[1]
  bytes = bytes - redis.call('HSTRLEN', keys[4], oldest)
  redis.call('HDEL', keys[4], oldest)
  return bytes
end

-- Remove the keys whose events are older than a week, and return the bytes of the rest.
local function expire_keys(keys, bytes, at)
  local oldest = redis.call('ZRANGE', keys[5], 0, 0)[1]
  while oldest and (tonumber(string.match(redis.call('HGET', keys[4], oldest), '"time":(%d+)')) or at) < at - WEEK_MS do
    bytes = evict_key(keys, bytes)
    oldest = redis.call('ZRANGE', keys[5], 0, 0)[1]
  end
  return bytes
end

-- Store the latest event of a key, and return the bytes of all keys.
local function store_latest(keys, bytes, key, offset, frame)
  bytes = bytes - redis.call('HSTRLEN', keys[4], key) + #frame
  redis.call('HSET', keys[4], key, frame)
  redis.call('ZADD', keys[5], offset, key)
  local count = redis.call('ZCARD', keys[5])
  while count > 1 and (count > MAX_KEYS or bytes > MAX_KEY_BYTES) do
    bytes, count = evict_key(keys, bytes), count - 1
  end
  return bytes
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

-- ARGV: an epoch for a new channel; PUBLISH or SPUBLISH; the pub/sub channel; the limits (events,
-- bytes, milliseconds); then per event its id, key, bytes of data, and the two halves of its frame,
-- between which its position is inserted. Return the epoch; then per event its offset, and 1 for a
-- duplicate. A duplicate is published again: the first message may have been lost.
local function append(keys, argv)
  local epoch, before, id = open_channel(keys, argv[1])
  local meta = redis.call('HMGET', keys[1], 'bytes', 'key_bytes', 'events', 'marks', 'marked', 'old')
  local bytes, key_bytes = tonumber(meta[1]) or 0, tonumber(meta[2]) or 0
  local key_bytes_before = key_bytes
  if redis.call('EXISTS', keys[2]) == 0 then bytes = 0 end  -- the stream has expired
  local at, top = clock(), before
  local time, answer, frames = ',"time":' .. whole(at), {epoch}, {}
  for i = 7, #argv, 5 do
    local known_offset = redis.call('ZSCORE', keys[3], argv[i])
    if known_offset then
      local entry = redis.call('XRANGE', keys[2], known_offset, known_offset)[1]
      if entry then frames[#frames + 1] = entry[2][6] end
      answer[#answer + 1], answer[#answer + 2] = tonumber(known_offset), 1
    else
      top, id = top + 1, argv[i]
      local offset = whole(top)
      local frame = argv[i + 3] .. ',"epoch":"' .. epoch .. '","offset":' .. offset .. time .. argv[i + 4]
      redis.call('XADD', keys[2], offset .. '-0', 'i', id, 'n', argv[i + 2], 'f', frame)
      redis.call('ZADD', keys[3], offset, id)
      bytes = bytes + tonumber(argv[i + 2])
      if argv[i + 1] ~= '' then key_bytes = store_latest(keys, key_bytes, argv[i + 1], offset, frame) end
      frames[#frames + 1] = frame
      answer[#answer + 1], answer[#answer + 2] = top, 0
    end
  end
  if top > before then
    bytes = trim(keys, bytes, tonumber(argv[4]), tonumber(argv[5]))
    redis.call('PEXPIRE', keys[2], argv[6])
    -- Extend the other keys with each mark only: twice a minute is often enough for a week.
    local mark_added = trim_ids(keys, meta, at, before, top)
    if mark_added and key_bytes > 0 then key_bytes = expire_keys(keys, key_bytes, at) end
    redis.call('HSET', keys[1], 'top', whole(top), 'id', id, 'bytes', whole(bytes), 'key_bytes', whole(key_bytes),
      'ids', redis.call('ZCARD', keys[3]), 'keys', redis.call('ZCARD', keys[5]))
    if mark_added or (key_bytes_before == 0 and key_bytes > 0) then
      for _, n in ipairs({1, 3, 4, 5}) do redis.call('PEXPIRE', keys[n], WEEK_MS) end
    end
  end
  notify(argv[2], argv[3], frames)
  return answer
end

-- Return the top (epoch, offset, id).
local function position(keys)
  local epoch, top, id = find_channel(keys)
  return epoch and {epoch, top, id} or nil
end

-- ARGV: the epoch to begin if the channel does not exist or is damaged. Return the top.
local function open(keys, argv) return {open_channel(keys, argv[1])} end

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

-- Add frames to the answer until the page is full; return 1 if frames remain, else 0. The first
-- frame always fits.
local function fill(answer, frames, limit, max_bytes, size_of)
  local size = 0
  for number, frame in ipairs(frames) do
    size = size + size_of(number)
    if number > limit or (number > 1 and size > max_bytes) then return 1 end
    answer[#answer + 1] = frame
  end
  return 0
end

-- ARGV: the position to continue (epoch, offset, id); the limits of a page (events, bytes). Return
-- the reason of a reset or ''; the top (epoch, offset, id); 1 if more events follow; and the frames.
local function read(keys, argv)
  local epoch, top, id = find_channel(keys)
  if not epoch then return nil end
  local after, limit = tonumber(argv[2]), tonumber(argv[4])
  local reason = discontinuity(keys, epoch, top, id, argv[1], after, argv[3])
  local answer = {reason or '', epoch, top, id, 0}
  if reason then return answer end
  local entries = redis.call('XRANGE', keys[2], '(' .. whole(after), '+', 'COUNT', limit + 1)
  local frames = {}
  for number, entry in ipairs(entries) do frames[number] = entry[2][6] end
  answer[5] = fill(answer, frames, limit, tonumber(argv[5]), function(n) return tonumber(entries[n][2][4]) end)
  return answer
end

-- ARGV: the offset to continue after; the limits of a page (events, bytes). Return what `read`
-- returns. Events older than a week are left out, until an append removes them.
local function latest(keys, argv)
  local epoch, top, id = find_channel(keys)
  if not epoch then return nil end
  local after, limit, old = argv[1], tonumber(argv[2]), clock() - WEEK_MS
  local answer, frames = {'', epoch, top, id, 0}, {}
  repeat
    local names = redis.call('ZRANGE', keys[5], '(' .. after, '+inf', 'BYSCORE', 'LIMIT', 0, limit + 1)
    if #names > 0 then
      after = redis.call('ZSCORE', keys[5], names[#names])
      for _, frame in ipairs(redis.call('HMGET', keys[4], unpack(names))) do
        if (tonumber(string.match(frame, '"time":(%d+)')) or old) >= old then frames[#frames + 1] = frame end
      end
    end
  until #frames > limit or #names <= limit
  answer[5] = fill(answer, frames, limit, tonumber(argv[3]), function(n) return #frames[n] end)
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
  append = append, open = open, rotate_epoch = rotate_epoch, generation = generation,
  position = position, read = read, latest = latest, known_generation = known_generation,
}

local function run_operation(keys, argv) return operations[table.remove(argv, 1)](keys, argv) end
