/* SPDX-License-Identifier: Apache-2.0 */
/*
 * delegate.pml: delegated atomics (src/failure/office.c, arbiter.c): a client asks for additions to a word, and arbiters that
 * die at every step carry them out.
 *
 * What is in the pool is what was published.  A process's own copies matter where it refreshes late or not at all, and there
 * they are variables of their own.  An arbiter's steps are one store each: intent, word, reply.  Candidates
 * run for office as in office.c: CHOOSING, a look at all terms, CLAIMING, a look at all claims; who is dead is
 * skipped, as the kernel says it at once on one machine.
 *
 * Shown, for two candidates besides the first arbiter and two additions in one lane: each addition is done exactly once (the
 * replies are 0 and 1, and the word ends at 2), there never are two live arbiters, and the client does not wait for
 * ever (an invalid end state).
 */
/* planted: NO_REDO a successor does not finish what its predecessor announced */
/* planted: WORD_FIRST the arbiter changes the word before it publishes its intent */
/* planted: OLD_INTENT a successor takes the first intent that it finds, not the one of the highest term */
/* planted: REPLY_UNSEEN a successor does an intent again without a look whether it was answered, and as an addition */
/* planted: NO_CHOOSING candidates do not wait for those who are choosing a term */
/* planted: STALE_WORD the arbiter uses the copy of the word that it had, and does not refresh it */
/* search: -m200000 */
#define PROCESSES 3 /* that can be the arbiter: 0 is it at first */
#define ADDITIONS 2

#define NONE     0
#define CHOOSING 1
#define CLAIMING 2
#define HELD     3

byte word;
byte request;                 /* sequence numbers; pending when they differ */
byte reply;
byte reply_value;
byte phase[PROCESSES];
byte term[PROCESSES];
byte intent_term[PROCESSES];  /* the intent lines; 0: none */
byte intent_request[PROCESSES];
byte intent_value[PROCESSES];
bool dead[PROCESSES];
byte deaths;
byte serving;                 /* live processes that carry out */
bool done;                    /* the client has all its answers */

#define MAY_DIE                                                                                                        \
	if                                                                                                                 \
	:: atomic { deaths < PROCESSES - 1 -> dead[self] = true; deaths++;                                                 \
		if :: in_office -> serving-- :: else fi; goto gone }                                                           \
	:: skip                                                                                                            \
	fi

proctype arbiter(byte self)
{
	byte i, best, seen, asked, value, winner;
	bool in_office, lost;

	if
	:: self == 0 -> goto office
	:: else
	fi;
follow:
	/* follows_somebody(): wait while an arbiter lives */
	done || !((phase[0] == HELD && !dead[0]) || (phase[1] == HELD && !dead[1]) || (phase[2] == HELD && !dead[2]));
	if
	:: done -> goto gone
	:: else
	fi;
	phase[self] = CHOOSING;
	MAY_DIE;
	/* choose_term(): one look at each line */
	best = term[self];
	i = 0;
	do
	:: i < PROCESSES -> atomic { if :: term[i] > best -> best = term[i] :: else fi; i++ }
	:: else -> break
	od;
	atomic { term[self] = best + 1; phase[self] = CLAIMING };
	MAY_DIE;
	/* count_claims() */
	lost = false;
	i = 0;
	do
	:: i < PROCESSES && (i == self || dead[i] || phase[i] == NONE) -> i++
	:: i < PROCESSES && i != self && !dead[i] && phase[i] == CHOOSING ->
#ifdef NO_CHOOSING
		i++
#else
		dead[i] || phase[i] != CHOOSING
#endif
	:: atomic { i < PROCESSES && i != self && !dead[i] && (phase[i] == CLAIMING || phase[i] == HELD) ->
		if
		:: phase[i] == HELD || term[i] < term[self] || (term[i] == term[self] && i < self) -> lost = true; winner = i
		:: else
		fi;
		i++ }
	:: i == PROCESSES -> break
	od;
	if
	:: lost -> phase[self] = NONE;
		/* it runs again on a later beat; without this there would be no end of terms */
		done || dead[winner] || phase[winner] != CLAIMING;
		goto follow
	:: else
	fi;
office:
	atomic { phase[self] = HELD; in_office = true; serving++ };
	assert(serving == 1 && term[self] < 255);
	seen = word;
	MAY_DIE;
	/* dm_arbiter_take_over() */
	best = PROCESSES;
	i = 0;
	do
	:: i < PROCESSES -> atomic {
		if
#ifdef OLD_INTENT
		:: intent_term[i] > 0 && best == PROCESSES -> best = i
#else
		:: intent_term[i] > 0 && best == PROCESSES -> best = i
		:: intent_term[i] > 0 && best < PROCESSES && intent_term[i] > intent_term[best] -> best = i
#endif
		:: else
		fi;
		i++ }
	:: else -> break
	od;
#ifndef NO_REDO
	if
#ifdef REPLY_UNSEEN
	:: best < PROCESSES -> word = word + 1;
#else
	:: best < PROCESSES && reply != intent_request[best] -> word = intent_value[best];
#endif
		MAY_DIE;
		atomic { reply_value = intent_value[best] - 1; reply = intent_request[best] };
		MAY_DIE
	:: else
	fi;
#endif
	/* dm_arbiter_serve() */
	do
	:: done -> break
	:: request != reply ->
		asked = request;
#ifndef STALE_WORD
		seen = word;
#endif
		value = seen + 1;
#ifdef WORD_FIRST
		word = value;
		MAY_DIE;
#endif
		atomic { intent_term[self] = term[self]; intent_request[self] = asked; intent_value[self] = value };
		MAY_DIE;
#ifndef WORD_FIRST
		word = value;
		MAY_DIE;
#endif
		atomic { reply_value = value - 1; reply = asked };
		MAY_DIE
	od;
gone:
	skip
}

proctype client()
{
	byte i;

	do
	:: i < ADDITIONS ->
		request = i + 1;
		reply == request;
		assert(reply_value == i);
		i++
	:: else -> break
	od;
	assert(word == ADDITIONS);
	done = true
}

init {
	atomic { phase[0] = HELD; term[0] = 1; run arbiter(0); run arbiter(1); run arbiter(2); run client() }
}
