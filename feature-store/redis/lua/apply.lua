--[[
Applies one step of a task, or nothing: logs and position change together.

KEYS[1]   owner token of the task
KEYS[2]   position of the task
KEYS[3]   identity of the state
KEYS[4..] tails and chunks to write; a tail that a seal makes a chunk of follows that chunk

ARGV[1]   owner token of the caller
ARGV[2]   position that the store must stand at; '' for a store that holds nothing
ARGV[3]   position that it stands at afterwards
ARGV[4]   kind of each write, one letter a key: a (append to a tail), s (set), c (set a chunk to the bytes of the tail that follows), d (delete)
ARGV[5]   4 bytes a key, little-endian: the length that a tail has after an append, or before it becomes a chunk
ARGV[6..] bytes of each write; '' for the others

Returns { code, owner or false, position or false, length that was found or false, length that was expected or false }
  applied   the step was applied
  longer    the step was applied, and a tail was longer than the caller knew: it holds facts twice
  short     a tail was shorter than the caller knew, so facts are gone: the state is marked, as half deleted (see clear.lua), for its
            next owner to delete it and to begin with nothing
  repeated  the store stands at ARGV[3] already, under the same owner: this very step had been applied and its
            reply was lost
  owner     another owner, or none: nothing was written
  position  another position: nothing was written
  malformed the arguments do not fit together: nothing was written

Everything but lengths is checked before the first write, because a script is atomic but is not rolled back. Redis refuses for
lack of memory only at a script's first write. What is deleted is deleted last: if the end of the step is missing from the file of a Redis
that died, there is more than was counted, never less.
]]
local writes = #KEYS - 3
local kinds = ARGV[4]
local lengths = ARGV[5]
if #kinds ~= writes or #lengths ~= 4 * writes or #ARGV ~= writes + 5 or string.find(kinds, '[^ascd]') then
  return { 'malformed', false, false }
end

local call = redis.call
local owner = call('GET', KEYS[1])
local position = call('GET', KEYS[2])
if owner ~= ARGV[1] then
  return { 'owner', owner, position }
end
if (position or '') ~= ARGV[2] then
  return { position == ARGV[3] and 'repeated' or 'position', owner, position }
end

local byte = string.byte
local unpackLength = struct.unpack
local longer, longerExpected
local short, shortExpected
local deletes = 0
for write = 1, writes do
  local kind = byte(kinds, write)
  local found
  if kind == 97 then
    found = call('APPEND', KEYS[write + 3], ARGV[write + 5])
  elseif kind == 115 then
    call('SET', KEYS[write + 3], ARGV[write + 5])
  elseif kind == 99 then
    local bytes = call('GET', KEYS[write + 4]) or ''
    found = #bytes
    call('SET', KEYS[write + 3], bytes)
  else
    deletes = deletes + 1
  end
  if found then
    local expected = unpackLength('<I4', lengths, write * 4 - 3)
    if found > expected then
      longer, longerExpected = found, expected
    elseif found < expected then
      short, shortExpected = found, expected
      break
    end
  end
end
if short then
  call('SET', KEYS[3], 'clearing')
  call('DEL', KEYS[2])
  return { 'short', owner, false, tostring(short), tostring(shortExpected) }
end
call('SET', KEYS[2], ARGV[3])
if deletes > 0 then
  for write = 1, writes do
    if byte(kinds, write) == 100 then call('DEL', KEYS[write + 3]) end
  end
end
if longer then
  return { 'longer', owner, ARGV[3], tostring(longer), tostring(longerExpected) }
end
return { 'applied', owner, ARGV[3] }
