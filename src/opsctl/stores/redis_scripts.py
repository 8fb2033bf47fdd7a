"""What is done on the server in one go, as Lua. Every key is a declared one: Dragonfly takes no others.

Only commands that all products have are used, no library of Lua's, and answers are plain strings and numbers.
"""

from __future__ import annotations

_COMMON = """
local function kind_of(key)
  local kind = redis.call('TYPE', key)
  return type(kind) == 'table' and kind.ok or kind
end

local function content(key, kind)
  if kind == 'string' then return {redis.call('GET', key)} end
  if kind == 'hash' then return redis.call('HGETALL', key) end
  if kind == 'list' then return redis.call('LRANGE', key, 0, -1) end
  if kind == 'set' then return redis.call('SMEMBERS', key) end
  if kind == 'zset' then return redis.call('ZRANGE', key, 0, -1, 'WITHSCORES') end
  local flat = {}
  for _, entry in ipairs(redis.call('XRANGE', key, '-', '+')) do
    flat[#flat + 1] = entry[1]
    flat[#flat + 1] = tostring(#entry[2])
    for _, part in ipairs(entry[2]) do flat[#flat + 1] = part end
  end
  return flat
end

local function same(key, kind, from)
  local have = content(key, kind)
  if #have ~= #ARGV - from + 1 then return false end
  if kind == 'hash' or kind == 'set' then
    local step, wanted = kind == 'hash' and 2 or 1, {}
    for i = from, #ARGV, step do wanted[ARGV[i]] = step == 2 and ARGV[i + 1] or true end
    for i = 1, #have, step do
      if wanted[have[i]] ~= (step == 2 and have[i + 1] or true) then return false end
    end
    return true
  end
  for i, part in ipairs(have) do
    if part ~= ARGV[from + i - 1] then return false end
  end
  return true
end
"""

# KEYS: any. ARGV: bytes a value may have, elements a value may have.
# Answers a letter for each key, milliseconds to live, sizes (bytes, or elements where those are too many), and the
# names of the types that have no letter. Letters: - gone; s h l e z x string, hash, list, set, zset, stream, as
# capitals where too large; ? another type.
OUTLINE = """
local letters = {string = 's', hash = 'h', list = 'l', set = 'e', zset = 'z', stream = 'x'}
local counts = {hash = 'HLEN', list = 'LLEN', set = 'SCARD', zset = 'ZCARD', stream = 'XLEN'}
local most, elements = tonumber(ARGV[1]), tonumber(ARGV[2])
local found, ends, sizes, names = {}, {}, {}, {}
local call = redis.call

for i, key in ipairs(KEYS) do
  local kind = call('TYPE', key)
  kind = type(kind) == 'table' and kind.ok or kind
  local letter, size, left = letters[kind], 0, -1
  if kind == 'none' then
    letter = '-'
  elseif letter == nil then
    letter, names[#names + 1] = '?', kind
  elseif kind == 'string' then
    size = call('STRLEN', key)
    if size > most then letter = 'S' end
  else
    size = call(counts[kind], key)
    if size > elements then
      letter = string.upper(letter)
    else
      -- Some bytes for each element are the server's own: what is nearly too large is read, and judged by its parts.
      local usage = redis.pcall('MEMORY', 'USAGE', key)
      size = type(usage) == 'number' and math.max(0, usage - 128 * size) or 0
      if size > most then letter = string.upper(letter) end
    end
  end
  if letter ~= '-' then left = math.min(call('PTTL', key), 1e13) end
  found[i], ends[i], sizes[i] = letter, left, size
end
return {table.concat(found), table.concat(ends, ','), table.concat(sizes, ','), table.concat(names, ',')}
"""

# KEYS: any but strings. ARGV: their letters in a row, 1 for dumps as the last parts.
# Answers the numbers of parts (-1 for what is gone or of another type by now), lengths of parts, and all parts in a
# row: three strings are read several times faster than thousands.
READ = (
    _COMMON
    + """
local names = {h = 'hash', l = 'list', e = 'set', z = 'zset', x = 'stream'}
local letters, dumps = ARGV[1], ARGV[2] == '1'
local counts, lengths, parts, n = {}, {}, {}, 0

for i, key in ipairs(KEYS) do
  local kind = names[string.sub(letters, i, i)]
  if kind_of(key) ~= kind then
    counts[i] = -1
  else
    local flat = content(key, kind)
    if dumps then flat[#flat + 1] = redis.call('DUMP', key) end
    counts[i] = #flat
    for j = 1, #flat do
      n = n + 1
      parts[n], lengths[n] = flat[j], #flat[j]
    end
  end
end
return {table.concat(counts, ','), table.concat(lengths, ','), table.concat(parts)}
"""
)

# KEYS: one. ARGV: its type, its parts.
REMOVE = (
    _COMMON
    + """
local kind = kind_of(KEYS[1])
if kind == 'none' then return 'gone' end
if kind ~= ARGV[1] or not same(KEYS[1], kind, 2) then return 'changed' end
redis.call('DEL', KEYS[1])
return 'removed'
"""
)

# KEYS: one. ARGV: new or replace, type, the millisecond it ends or nothing, its parts.
PUT = (
    _COMMON
    + """
local key, kind, ends = KEYS[1], ARGV[2], ARGV[3]
local there = kind_of(key)
if there ~= 'none' and ARGV[1] == 'new' then
  return there == kind and same(key, kind, 4) and 'there' or 'differs'
end
if there ~= 'none' then redis.call('DEL', key) end

-- unpack takes a few thousand values at most.
local function in_slices(command, values)
  for i = 1, #values, 4000 do
    redis.call(command, key, unpack(values, i, math.min(i + 3999, #values)))
  end
end

local values = {}
for i = 4, #ARGV do values[i - 3] = ARGV[i] end
if kind == 'string' then
  redis.call('SET', key, values[1])
elseif kind == 'hash' then
  in_slices('HSET', values)
elseif kind == 'list' then
  in_slices('RPUSH', values)
elseif kind == 'set' then
  in_slices('SADD', values)
elseif kind == 'zset' then
  for i = 1, #values, 2 do values[i], values[i + 1] = values[i + 1], values[i] end
  in_slices('ZADD', values)
else
  local i = 1
  while i < #values do
    local count = tonumber(values[i + 1])
    redis.call('XADD', key, values[i], unpack(values, i + 2, i + 1 + count))
    i = i + 2 + count
  end
end
if ends ~= '' then redis.call('PEXPIREAT', key, ends) end
return 'restored'
"""
)
