/* SPDX-License-Identifier: Apache-2.0 */
/*
 * admin_lock.pml: the administration lock (src/failure/lock.c) among members of which any may die at any step.
 *
 * The word holds its holder's number, 0 is free.  It is taken by CAS from 0; a dead holder's lock is taken over by CAS from
 * exactly the word that was looked at; it is released by CAS from the own word.  Shown: never two live members inside, and
 * a survivor is not left waiting for ever (an invalid end state would be found).
 */
/* planted: TAKE_BY_STORE a dead holder's lock is taken by a store: two waiters can have it */
/* planted: NO_TAKEOVER nobody takes a dead holder's lock over */
#define MEMBERS 3

byte word;
byte inside;
bool dead[MEMBERS + 1];
byte deaths;

/* Dies here, perhaps; the last member lives. */
#define MAY_DIE                                                                                                        \
	if                                                                                                                 \
	:: deaths < MEMBERS - 1 -> atomic { dead[self] = true; deaths++; if :: mine -> inside-- :: else fi }; goto gone    \
	:: skip                                                                                                            \
	fi

proctype member(byte self)
{
	byte seen;
	bool mine;

	do
	:: atomic { seen = word; if :: seen == 0 -> word = self :: else fi };
		if
		:: seen == 0 -> break
		:: else
		fi;
		/* look at the holder, a while after the word was read */
#ifndef NO_TAKEOVER
		if
		:: dead[seen] ->
#ifdef TAKE_BY_STORE
			word = self;
			break
#else
			atomic { if :: word == seen -> word = self; seen = 0 :: else fi };
			if
			:: seen == 0 -> break
			:: else
			fi
#endif
		:: else
		fi;
#endif
		word != seen || dead[seen] /* waits; spin finds it when this never comes */
#ifdef NO_TAKEOVER
		; word != seen
#endif
	od;
	atomic { mine = true; inside++ };
	assert(inside == 1);
	MAY_DIE;
	assert(inside == 1);
	atomic { mine = false; inside-- };
	MAY_DIE;
	atomic { if :: word == self -> word = 0 :: else fi };
gone:
	skip
}

init {
	byte i;

	atomic {
		for (i : 1 .. MEMBERS) {
			run member(i)
		}
	}
}
