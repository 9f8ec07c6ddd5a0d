--[[
Takes a task over: from here on every former owner is refused.

KEYS[1] owner token of the task
KEYS[2] position of the task
KEYS[3] identity of the state
KEYS[4] shape that the fingerprint in the identity is of

ARGV[1] owner token of the caller
ARGV[2] identity that the caller expects
ARGV[3] '1' to take over state of another identity too, for the sake of deleting it
ARGV[4] shape to write with the token, empty for none
ARGV[5..] commands that are sent or called for a task: all of runtime/rights.ts

Returns { code, identity that was found or false, position or false, shape that was found or false }
  claimed  the token was written; so was the identity where the store held nothing
  clearing the token was written; the state is half deleted (see clear.lua), and its deletion is to be finished first
  foreign  the state belongs to something else: nothing was written
  rights   the user of this connection may not run the commands listed (in the place of the identity): nothing was written.
           A script is not rolled back, so a right must not turn out to be missing after a first write
]]
if redis.acl_check_cmd then
  local key = KEYS[2]
  -- As many as the command takes: Redis 7.0.15 reads past the end of fewer, and dies.
  local arguments = {
    EVAL = { '', '0' }, GET = { key }, MGET = { key }, SET = { key, '' }, APPEND = { key, '' }, DEL = { key },
    SCAN = { '0' }, INFO = {}, PING = {},
  }
  local missing = {}
  for right = 5, #ARGV do
    local command = ARGV[right]
    if not redis.acl_check_cmd(command, unpack(arguments[command])) then missing[#missing + 1] = command end
  end
  if #missing > 0 then return { 'rights', table.concat(missing, ', '), false } end
end
local position = redis.call('GET', KEYS[2])
local identity = redis.call('GET', KEYS[3])
-- Written by every owner: state of versions without a shape gets one, and one that an interrupted rebuild leaves is none of the identity's.
local function take()
  if ARGV[4] ~= '' then redis.call('SET', KEYS[4], ARGV[4]) end
  redis.call('SET', KEYS[1], ARGV[1])
end
if identity == 'clearing' then
  take()
  return { 'clearing', identity, position, false }
end
if not identity and not position then
  redis.call('SET', KEYS[3], ARGV[2])
elseif identity ~= ARGV[2] and ARGV[3] ~= '1' then
  return { 'foreign', identity, position, redis.call('GET', KEYS[4]) }
end
take()
return { 'claimed', identity, position, false }
