-- The log of one channel, each operation of it atomic; docs/specification.md §2 says what it promises.
-- KEYS: meta (a hash), events (a stream; an entry's id is its offset), ids (a sorted set by offset),
-- latest (a hash of frames by key), order (a sorted set of keys by offset). ARGV[1] names the operation.

local WEEK_MS, UNUSED_MS = 7 * 86400000, 600000
local MIN_IDS, ID_MS, MAX_IDS, MARK_MS = 1000, 300000, 100000, 30000
local MAX_KEYS, MAX_KEY_BYTES = 1000, 1048576
local SLACK = 100          -- events kept beyond the limit, so that trimming costs little each time
local MESSAGE_BYTES = 262144

local function whole(number) return string.format('%.0f', number) end

local function clock()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

local function offset_of(entry) return tonumber(string.match(entry[1], '^%d+')) end

-- Return epoch, top and the top's id; a channel nobody used begins its epoch here.
local function place(keys, candidate)
  local held = redis.call('HMGET', keys[1], 'epoch', 'top', 'id')
  if held[1] then return held[1], tonumber(held[2]), held[3] or '' end
  redis.call('DEL', unpack(keys))
  redis.call('HSET', keys[1], 'epoch', candidate, 'top', 0)
  redis.call('PEXPIRE', keys[1], UNUSED_MS)
  return candidate, 0, ''
end

-- Forget ids beyond the last 1 000 that are older than 5 minutes. Marks "time:top;" are set twice a
-- minute: what was numbered up to a mark is older than the mark.
local function forget_ids(keys, held, at, before, top)
  local marked, old, fresh = tonumber(held[5]) or 0, tonumber(held[6]) or 0, false
  if at - marked >= MARK_MS then
    local marks = ''
    for time, reached in string.gmatch((held[4] or '') .. whole(at) .. ':' .. whole(before) .. ';', '(%d+):(%d+);') do
      if tonumber(time) <= at - ID_MS then old = tonumber(reached)
      else marks = marks .. time .. ':' .. reached .. ';' end
    end
    redis.call('HSET', keys[1], 'marks', marks, 'marked', whole(at), 'old', whole(old))
    fresh = true
  end
  local bound = math.max(math.min(old, top - MIN_IDS), top - MAX_IDS)
  if bound > 0 then redis.call('ZREMRANGEBYSCORE', keys[3], '-inf', whole(bound)) end
  return fresh
end

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

local function evict_key(keys, bytes)
  local oldest = redis.call('ZPOPMIN', keys[5])[1]
  bytes = bytes - redis.call('HSTRLEN', keys[4], oldest)
  redis.call('HDEL', keys[4], oldest)
  return bytes
end

local function keep_latest(keys, bytes, key, offset, frame)
  bytes = bytes - redis.call('HSTRLEN', keys[4], key) + #frame
  redis.call('HSET', keys[4], key, frame)
  redis.call('ZADD', keys[5], offset, key)
  local count = redis.call('ZCARD', keys[5])
  while count > 1 and (count > MAX_KEYS or bytes > MAX_KEY_BYTES) do
    bytes, count = evict_key(keys, bytes), count - 1
  end
  return bytes
end

local function announce(command, channel, frames)
  local first, size = 1, 0
  for number, frame in ipairs(frames) do
    size = size + #frame
    if size >= MESSAGE_BYTES or number == #frames then
      redis.call(command, channel, table.concat(frames, '\n', first, number))
      first, size = number + 1, 0
    end
  end
end

-- ARGV: the epoch if one begins here, PUBLISH or SPUBLISH, the channel to announce on, the limits
-- (events, bytes, milliseconds); then for each event its id, key, bytes of data, and both halves of
-- its frame, between which its place is written. Returns the epoch; then an offset for each event,
-- and 1 if its id was known.
local function append(keys, argv)
  local epoch, before, id = place(keys, argv[1])
  local held = redis.call('HMGET', keys[1], 'bytes', 'key_bytes', 'events', 'marks', 'marked', 'old')
  local bytes, key_bytes = tonumber(held[1]) or 0, tonumber(held[2]) or 0
  local had = key_bytes
  if redis.call('EXISTS', keys[2]) == 0 then bytes = 0 end
  local at, top = clock(), before
  local stamp, answer, frames = ',"time":' .. whole(at), {epoch}, {}
  for i = 7, #argv, 5 do
    local known = redis.call('ZSCORE', keys[3], argv[i])
    if known then
      local there = redis.call('XRANGE', keys[2], known, known)[1]
      if there then frames[#frames + 1] = there[2][6] end
      answer[#answer + 1], answer[#answer + 2] = tonumber(known), 1
    else
      top, id = top + 1, argv[i]
      local offset = whole(top)
      local frame = argv[i + 3] .. ',"epoch":"' .. epoch .. '","offset":' .. offset .. stamp .. argv[i + 4]
      redis.call('XADD', keys[2], offset .. '-0', 'i', id, 'n', argv[i + 2], 'f', frame)
      redis.call('ZADD', keys[3], offset, id)
      bytes = bytes + tonumber(argv[i + 2])
      if argv[i + 1] ~= '' then key_bytes = keep_latest(keys, key_bytes, argv[i + 1], offset, frame) end
      frames[#frames + 1] = frame
      answer[#answer + 1], answer[#answer + 2] = top, 0
    end
  end
  if top > before then
    bytes = trim(keys, bytes, tonumber(argv[4]), tonumber(argv[5]))
    redis.call('HSET', keys[1], 'top', whole(top), 'id', id, 'bytes', whole(bytes), 'key_bytes', whole(key_bytes))
    redis.call('PEXPIRE', keys[2], argv[6])
    if forget_ids(keys, held, at, before, top) or (had == 0 and key_bytes > 0) then
      for _, n in ipairs({1, 3, 4, 5}) do redis.call('PEXPIRE', keys[n], WEEK_MS) end
    end
  end
  announce(argv[2], argv[3], frames)
  return answer
end

local function position(keys, argv) return {place(keys, argv[1])} end

-- Why there is no contiguous way on from `after`, or nil.
local function discontinuity(keys, epoch, top, top_id, after_epoch, after, after_id)
  local function mismatch(held) return after_id ~= '' and after > 0 and after_id ~= held end
  if after_epoch ~= epoch then return 'epoch' end
  if after > top then return 'ahead' end
  if after == top then return mismatch(top_id) and 'regressed' or nil end
  if after == 0 then
    local first = redis.call('XRANGE', keys[2], '-', '+', 'COUNT', 1)[1]
    return not (first and offset_of(first) == 1) and 'truncated' or nil
  end
  local there = redis.call('XRANGE', keys[2], whole(after), whole(after))[1]
  if not there then return 'truncated' end
  return mismatch(there[2][2]) and 'regressed' or nil
end

-- Add frames to the answer until a page is full, and return whether there are more.
local function fill(answer, frames, limit, max_bytes, size_of)
  local size = 0
  for number, frame in ipairs(frames) do
    size = size + size_of(number)
    if number > limit or (number > 1 and size > max_bytes) then return 1 end
    answer[#answer + 1] = frame
  end
  return 0
end

-- ARGV: the epoch if one begins here, the position asked for (epoch, offset, id), and the most
-- events and bytes of a page. Returns the reason of a reset or '', the top (epoch, offset, id), 1 if
-- there is more, and the frames.
local function read(keys, argv)
  local epoch, top, id = place(keys, argv[1])
  local after, limit = tonumber(argv[3]), tonumber(argv[5])
  local reason = discontinuity(keys, epoch, top, id, argv[2], after, argv[4])
  local answer = {reason or '', epoch, top, id, 0}
  if reason then return answer end
  local entries = redis.call('XRANGE', keys[2], '(' .. whole(after), '+', 'COUNT', limit + 1)
  local frames = {}
  for number, entry in ipairs(entries) do frames[number] = entry[2][6] end
  answer[5] = fill(answer, frames, limit, tonumber(argv[6]), function(n) return tonumber(entries[n][2][4]) end)
  return answer
end

-- ARGV: the epoch if one begins here, the offset after which to go on, and the most events and bytes
-- of a page. Returns what `read` does.
local function latest(keys, argv)
  local epoch, top, id = place(keys, argv[1])
  local bytes, limit, old = tonumber(redis.call('HGET', keys[1], 'key_bytes')) or 0, tonumber(argv[3]), clock() - WEEK_MS
  local oldest = redis.call('ZRANGE', keys[5], 0, 0)[1]
  while oldest and tonumber(string.match(redis.call('HGET', keys[4], oldest), '"time":(%d+)')) < old do
    bytes = evict_key(keys, bytes)
    redis.call('HSET', keys[1], 'key_bytes', whole(bytes))
    oldest = redis.call('ZRANGE', keys[5], 0, 0)[1]
  end
  local answer, frames = {'', epoch, top, id, 0}, {}
  local names = redis.call('ZRANGE', keys[5], '(' .. argv[2], '+inf', 'BYSCORE', 'LIMIT', 0, limit + 1)
  if #names > 0 then frames = redis.call('HMGET', keys[4], unpack(names)) end
  answer[5] = fill(answer, frames, limit, tonumber(argv[4]), function(n) return #frames[n] end)
  return answer
end

-- ARGV: the epoch to begin, and the one to end if it still goes on. Returns the position then.
local function rotate(keys, argv)
  if redis.call('HGET', keys[1], 'epoch') == argv[2] then redis.call('DEL', unpack(keys)) end
  return {place(keys, argv[1])}
end

-- KEYS[1]: a hash of its own. ARGV: a configuration. Returns its generation, greater than any
-- other's, and than the time at which a log in memory would have begun.
local function generation(keys, argv)
  local held = redis.call('HMGET', keys[1], 'configuration', 'generation')
  if held[1] == argv[1] then return tonumber(held[2]) end
  local next = math.max((tonumber(held[2]) or 0) + 1, math.floor(clock() / 1000))
  redis.call('HSET', keys[1], 'configuration', argv[1], 'generation', whole(next))
  return next
end

local operations = {
  append = append, position = position, read = read, latest = latest, rotate = rotate, generation = generation,
}

local function operate(keys, argv) return operations[table.remove(argv, 1)](keys, argv) end
