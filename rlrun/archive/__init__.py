"""A verified copy of runs elsewhere: pushed, proved, restored; a local byte goes only after its remote twin was proved"""
