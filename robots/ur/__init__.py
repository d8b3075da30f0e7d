"""The UR5 and UR5e over RTDE. Modules in the order in which they import, from the top:

family          the robots by name
world           a robot as a world: observations, chunks, the operator's permission
process         the driving process's side of the servo process
__main__        the servo process, an interpreter of its own
servo           its loop: read the arm, decide, send one target, in every period
connection      both connections to the controller, from preflight to goodbye
preflight       what has to be so before anything may move
journal         the servo log, and that it reproduces its commands
watchdog        who has to be alive for the arm to move
client          `ur_rtde` with its traps in one place
dashboard       the controller's dashboard server
link, status    messages between the two processes
realtime        being on time
convention      states and actions as policies have them
motion          trajectory and filter as one deterministic machine, its log and replay
trajectory      action chunks to wanted joint angles
safety_filter   the last thing before the wire
walls           joint ranges, boxes and table
points          where tool and elbow are at many joint angles
reasons         why a command is not what was wanted
config          a robot's file
gripper         a Robotiq in a thread of its own
fields          values of the file, checked
limits          what the arm may do and where it may be

`motion` and what it imports are pure: no clock, no I/O.
"""
