--[[
One step of the deletion of a task's state. The first step marks the state as half deleted (identity 'clearing') and
takes its position away, steps in between delete logs, the last one writes the new identity: a crash in between leaves
the mark, and whoever claims the task next finishes the deletion.

KEYS[1]   owner token of the task
KEYS[2]   position of the task
KEYS[3]   identity of the state
KEYS[4..] logs to delete, at most 2,000

ARGV[1]   owner token of the caller
ARGV[2]   identity to write: 'clearing', or the owner's in the last step

Returns { code, owner or false }
  cleared  the step was done
  owner    another owner, or none: nothing was written
]]
local owner = redis.call('GET', KEYS[1])
if owner ~= ARGV[1] then
  return { 'owner', owner }
end
redis.call('SET', KEYS[3], ARGV[2])
redis.call('DEL', KEYS[2])
for log = 4, #KEYS do
  redis.call('DEL', KEYS[log])
end
return { 'cleared', owner }
