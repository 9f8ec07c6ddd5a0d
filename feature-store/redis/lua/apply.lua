--[[
Applies one step of a task, or nothing: logs and position change together.

KEYS[1]   owner token of the task
KEYS[2]   position of the task
KEYS[3..] logs to write, each once, at most 500

ARGV[1]   owner token of the caller
ARGV[2]   position that the store must stand at; '' for a store that holds nothing
ARGV[3]   position that it stands at afterwards
ARGV[4]   kind of each write, one letter a log: a (append), r (replace), d (delete)
ARGV[5..] bytes of each write; '' for a delete

Returns { code, owner or false, position or false }
  applied   the step was applied
  repeated  the store stands at ARGV[3] already, under the same owner: this very step had been applied and its
            reply was lost
  owner     another owner, or none: nothing was written
  position  another position: nothing was written
  malformed the arguments do not fit together: nothing was written

Everything is checked before the first write, because a script is atomic but is not rolled back. Redis refuses for
lack of memory only at a script's first write.
]]
local logs = #KEYS - 2
local kinds = ARGV[4]
if logs > 500 or #kinds ~= logs or #ARGV ~= logs + 4 or string.find(kinds, '[^ard]') then
  return { 'malformed', false, false }
end

local owner = redis.call('GET', KEYS[1])
local position = redis.call('GET', KEYS[2])
if owner ~= ARGV[1] then
  return { 'owner', owner, position }
end
if (position or '') ~= ARGV[2] then
  return { position == ARGV[3] and 'repeated' or 'position', owner, position }
end

for log = 1, logs do
  local kind = string.byte(kinds, log)
  if kind == 97 then
    redis.call('APPEND', KEYS[log + 2], ARGV[log + 4])
  elseif kind == 114 then
    redis.call('SET', KEYS[log + 2], ARGV[log + 4])
  else
    redis.call('DEL', KEYS[log + 2])
  end
end
redis.call('SET', KEYS[2], ARGV[3])
return { 'applied', owner, ARGV[3] }
